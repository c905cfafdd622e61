"""The first half of a request: its parameters are checked and the model reads its prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding.constraints import Constraints, needed_tokens, parse
from tf_textgen.decoding.parameters import Parameters, harmless_where, sanitize, with_ratios
from tf_textgen.decoding.search import SearchInputs
from tf_textgen.decoding.single_search import Paused
from tf_textgen.generator.compiled import FEWEST_SLOTS, compiled_step, power_of_two, widen
from tf_textgen.generator.prompt_encoder import PromptEncoder
from tf_textgen.models.base import TextModel


class CheckedRequest(NamedTuple):
    """The parameters of a request, made harmless in bad rows.

    Attributes:
      parameters: of all rows.
      constraints: the words of the parameters as tokens.
      problem: `[B]` string, the error of a bad row, else "".
    """

    parameters: Parameters
    constraints: Constraints
    problem: tf.Tensor


class Prefilled(NamedTuple):
    """The start of a search.

    Attributes:
      logits: `[B, V]` float32 of the first new token.
      state: of the model.
      inputs: of the search; lengths relative to the source are numbers of tokens.
      prompt_truncated: `[B]` bool.
    """

    logits: tf.Tensor
    state: Any
    inputs: SearchInputs
    prompt_truncated: tf.Tensor


class Prefill:
    """Checks requests and reads their prompts, for all ways of generating.

    Args:
      model: reads the prompts.
      encoder: makes tokens of them.
      max_new_tokens: upper bound of the new tokens of a row.
      jit_compile: whether XLA compiles the model's step.

    Attributes:
      step: of the model, compiled if `jit_compile`.
      banned_ids: special tokens that are never generated.
    """

    def __init__(
        self, model: TextModel, encoder: PromptEncoder, *, max_new_tokens: int, jit_compile: bool
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        self.max_new_tokens = max_new_tokens
        self.jit_compile = jit_compile
        self.step = compiled_step(model.step) if jit_compile else model.step
        tokenizer = self.tokenizer
        self.banned_ids = (
            tokenizer.pad_id,
            tokenizer.unk_id,
            tokenizer.bos_id,
            tokenizer.sep_id,
        )

    def check(self, parameters: Parameters) -> CheckedRequest:
        """Checks the parameters row by row.

        A bad row does not fail the rows that a server merged with it: it gets one greedy token, and
        its error.
        """
        tokenizer = self.tokenizer
        safe, problem = sanitize(
            parameters, tokenizer.vocabulary_size, self.max_new_tokens, self.encoder.is_pair
        )
        constraints, misfit = parse(
            safe,
            tokenizer.tokenize,
            vocabulary_size=tokenizer.vocabulary_size,
            unk_id=tokenizer.unk_id,
        )
        safe = harmless_where(tf.not_equal(misfit, ""), safe)
        problem = tf.where(tf.equal(problem, ""), misfit, problem)
        return CheckedRequest(safe, constraints, problem)

    def start(
        self, prompts: tf.Tensor, request: CheckedRequest, paused: Paused | None = None
    ) -> Prefilled:
        """Reads the prompts, and the tokens of `paused` after them.

        Args:
          prompts: `[B]` string.
          request: as `check` returns it.
          paused: the rows so far; None if they have no tokens.
        """
        parameters = request.parameters
        features, truncated = self.encoder.features(prompts, parameters.max_new_tokens)
        parameters = self._with_ratios(parameters, features, needed_tokens(request.constraints))
        # The source of a target does not belong to the text.
        lengths = tf.zeros_like(features["target_lengths"])
        if not self.encoder.is_pair:
            lengths = features["target_lengths"]
        more = parameters.max_new_tokens
        if paused is not None:
            features = _append(features, paused, self.tokenizer.pad_id)
            lengths += paused.lengths
            more = tf.minimum(paused.more, more - paused.lengths)
        longest = tf.reduce_max(tf.concat([[1], more], axis=0))
        capacity = tf.shape(features["target_tokens"])[1] + longest
        if self.jit_compile:
            features, capacity = self._rounded(features, capacity)
        logits, state = self.model.start(features, capacity)
        inputs = SearchInputs(
            parameters=parameters,
            constraints=request.constraints,
            prompt_tokens=features["target_tokens"],
            prompt_lengths=lengths,
            max_new_tokens=self.max_new_tokens,
            eos_id=self.tokenizer.eos_id,
            banned_ids=self.banned_ids,
            detokenize=self.encoder.detokenize_after(prompts),
        )
        return Prefilled(logits, state, inputs, truncated)

    def _rounded(
        self, features: dict[str, tf.Tensor], capacity: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """The features and the capacity of the cache in few sizes, for a compiled step."""
        capacity = power_of_two(capacity, FEWEST_SLOTS)
        if "source_tokens" not in features:
            return features, capacity
        sources = widen(features["source_tokens"], self.encoder.source_tokenizer.pad_id)
        return {**features, "source_tokens": sources}, capacity

    def _with_ratios(
        self, parameters: Parameters, features: Mapping[str, tf.Tensor], needed: tf.Tensor
    ) -> Parameters:
        """Lengths relative to the source made numbers of tokens, within `max_new_tokens`."""
        if not self.encoder.is_pair:
            return parameters
        # The frame does not count: `</s>` of an encoder's source, `<s>` and `<sep>` of a pair.
        if self.encoder.has_encoder:
            lengths = features["source_lengths"] - 1
        else:
            lengths = features["target_lengths"] - 2
        return with_ratios(parameters, lengths, needed)


def _append(features: Mapping[str, tf.Tensor], paused: Paused, pad_id: int) -> dict[str, tf.Tensor]:
    """`features` with the tokens so far behind the prompts, `[B, P']` and left-padded again."""
    prompt = features["target_tokens"]
    first = paused.first[:, tf.newaxis]
    length = tf.shape(prompt)[1]
    both = tf.concat([prompt, paused.tokens], axis=1)
    columns = tf.range(tf.shape(both)[1])
    # A prompt moves to the right by the gap before its row's tokens.
    of_prompt = tf.maximum(columns - first, 0)
    at = tf.where(columns >= length + first, columns, of_prompt)
    moved = tf.gather(both, at, batch_dims=1)
    tokens = tf.where(columns >= first, moved, pad_id)
    lengths = features["target_lengths"] + paused.lengths
    unused = tf.reduce_min(
        tf.concat([[tf.shape(both)[1] - 1], tf.shape(both)[1] - lengths], axis=0)
    )
    return {**features, "target_tokens": tokens[:, unused:], "target_lengths": lengths}
