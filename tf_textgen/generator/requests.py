"""What a request for new text asks for, checked row by row, its prompts as the model's state, and
its search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tf_textgen.decoding.constraints import Constraints, needed_tokens, parse
from tf_textgen.decoding.loop import Step
from tf_textgen.decoding.parameters import Parameters, harmless_where, sanitize, with_ratios
from tf_textgen.decoding.single_search import Begun, Decoded, decode
from tf_textgen.generator.compiled import FEWEST_SLOTS, power_of_two, widen
from tf_textgen.generator.prompts import PromptReader


class RequestReader(PromptReader):
    """What all ways of generating share.

    Attributes:
      step: of the model, compiled if `jit_compile` says so.
      continue_graph: `(prompts [B] string, Parameters, Begun) -> (Decoded, problem [B] string,
        prompt_truncated [B] bool)`; what is begun is left out of account in rows with a problem.
    """

    step: Step
    continue_graph: Callable[..., tuple[Decoded, tf.Tensor, tf.Tensor]]

    def _continue(
        self, prompts: tf.Tensor, parameters: Parameters, begun: Begun
    ) -> tuple[Decoded, tf.Tensor, tf.Tensor]:
        safe, constraints, problem = self._checked(parameters)
        begun = _only_in(tf.equal(problem, ""), begun, self.tokenizer.pad_id)
        logits, state, safe, known, truncated = self._start(prompts, safe, constraints, begun)
        return decode(logits, state, self.step, safe, begun=begun, **known), problem, truncated

    def _checked(self, parameters: Parameters) -> tuple[Parameters, Constraints, tf.Tensor]:
        """The parameters and their words with bad rows made harmless, and what is wrong with those
        `[B]`, else "".
        """
        tokenizer = self.tokenizer
        safe, problem = sanitize(
            parameters, tokenizer.vocabulary_size, self.max_new_tokens, self.is_pair
        )
        constraints, misfit = parse(
            safe,
            tokenizer.tokenize,
            vocabulary_size=tokenizer.vocabulary_size,
            unk_id=tokenizer.unk_id,
        )
        safe = harmless_where(tf.not_equal(misfit, ""), safe)
        return safe, constraints, tf.where(tf.equal(problem, ""), misfit, problem)

    def _start(
        self,
        prompts: tf.Tensor,
        parameters: Parameters,
        constraints: Constraints,
        begun: Begun | None = None,
    ) -> tuple[tf.Tensor, Any, Parameters, dict[str, Any], tf.Tensor]:
        """Reads the prompts, and the tokens that were `begun`.

        Returns:
          Logits, state, parameters with the lengths of the sources, what else a search wants, which
          prompts were cut.
        """
        model = self.model
        tokenizer = self.tokenizer
        features, truncated = self._prompt_features(prompts, parameters.max_new_tokens)
        parameters = self._with_ratios(parameters, features, needed_tokens(constraints))
        more = parameters.max_new_tokens
        if begun is not None:
            features = _append(features, begun, tokenizer.pad_id)
            more = tf.minimum(begun.more, more - begun.lengths)
        longest = tf.reduce_max(tf.concat([[1], more], axis=0))
        capacity = tf.shape(features["target_tokens"])[1] + longest
        if self.jit_compile:
            capacity = power_of_two(capacity, FEWEST_SLOTS)
            if "source_tokens" in features:
                features = {
                    **features,
                    "source_tokens": widen(features["source_tokens"], self.source_tokenizer.pad_id),
                }
        logits, state = model.start(features, capacity)
        known = {
            "prompt_tokens": features["target_tokens"],
            "prompt_lengths": features["target_lengths"],
            "eos_id": tokenizer.eos_id,
            "banned_ids": [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.sep_id],
            "constraints": constraints,
            "detokenize": tokenizer.detokenize,
            "max_new_tokens": self.max_new_tokens,
        }
        return logits, state, parameters, known, truncated

    def _with_ratios(
        self, parameters: Parameters, features: Mapping[str, tf.Tensor], needed: tf.Tensor
    ) -> Parameters:
        """Lengths relative to the source made numbers of tokens, within `max_new_tokens`."""
        if not self.is_pair:
            return parameters
        is_source = self.prompt_format == "source"
        lengths = (
            features["source_lengths"] - 1 if is_source else features["target_lengths"] - 2
        )  # without the frame
        return with_ratios(parameters, lengths, needed)


def _only_in(rows: tf.Tensor, begun: Begun, pad_id: int) -> Begun:
    """What is begun in some rows, `[B]` bool, in as few columns as hold it."""
    lengths = tf.where(rows, begun.lengths, 0)
    unused = tf.shape(begun.tokens)[1] - tf.reduce_max(tf.concat([[0], lengths], axis=0))
    return begun._replace(
        tokens=tf.where(rows[:, tf.newaxis], begun.tokens, pad_id)[:, unused:],
        lengths=lengths,
        word=tf.where(rows, begun.word, 0),
        place=tf.where(rows, begun.place, 0),
    )


def _append(features: Mapping[str, tf.Tensor], begun: Begun, pad_id: int) -> dict[str, tf.Tensor]:
    """`features` with the tokens so far behind the prompts, `[B, P']` and left-padded again."""
    prompt = features["target_tokens"]
    first = begun.first[:, tf.newaxis]
    length = tf.shape(prompt)[1]
    both = tf.concat([prompt, begun.tokens], axis=1)
    columns = tf.range(tf.shape(both)[1])
    # A prompt moves to the right as far as its row's tokens leave a gap.
    moved = tf.gather(
        both,
        tf.where(columns >= length + first, columns, tf.maximum(columns - first, 0)),
        batch_dims=1,
    )
    tokens = tf.where(columns >= first, moved, pad_id)
    lengths = features["target_lengths"] + begun.lengths
    unused = tf.reduce_min(
        tf.concat([[tf.shape(both)[1] - 1], tf.shape(both)[1] - lengths], axis=0)
    )
    return {**features, "target_tokens": tokens[:, unused:], "target_lengths": lengths}
