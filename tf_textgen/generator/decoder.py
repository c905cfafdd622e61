"""One text for each prompt, by sampling or greedily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.continuation import Continuation
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameter_table import sample_seed
from tf_textgen.decoding.parameters import Parameters, from_config, values_of
from tf_textgen.decoding.single_search import (
    PAUSED_SPECS,
    Decoded,
    Paused,
    decode,
    not_started,
)
from tf_textgen.generator.compiled import decoding_graph
from tf_textgen.generator.prefill import Prefill
from tf_textgen.generator.results import (
    Generation,
    shared_outputs,
    to_continuations,
    to_lists,
)
from tf_textgen.generator.signature import PARAMETER_SPECS, TEXTS, Inputs, Signature, row_specs


class Continued(NamedTuple):
    """The texts of a search, finished or not.

    Attributes:
      found: by the search, of no meaning in bad rows.
      problem: `[B]` string, the error of a bad row, else "".
      prompt_truncated: `[B]` bool.
    """

    found: Decoded
    problem: tf.Tensor
    prompt_truncated: tf.Tensor


class Decoder:
    """Continues each prompt with one text, each row by its own parameters.

    Args:
      prefill: reads the prompts.

    Attributes:
      continue_graph: `(prompts [B] string, Parameters, Paused) -> Continued`. One trace of the
        model
        serves whole texts and chunks of them.
      graph: `(prompts [B] string, Parameters) -> Generation`.
    """

    continue_graph: Callable[[tf.Tensor, Parameters, Paused], Continued]
    graph: Callable[[tf.Tensor, Parameters], Generation]

    def __init__(self, prefill: Prefill) -> None:
        self.prefill = prefill
        self.encoder = prefill.encoder
        self.tokenizer = prefill.tokenizer
        self.max_new_tokens = prefill.max_new_tokens
        self.continue_graph = decoding_graph(
            self._continue,
            [TEXTS, PARAMETER_SPECS, PAUSED_SPECS],
            in_few_shapes=prefill.jit_compile,
        )
        self.graph = tf.function(
            self._generate, autograph=False, input_signature=[TEXTS, PARAMETER_SPECS]
        )

    def generate(
        self,
        prompts: Sequence[str],
        decoding: DecodingConfig,
        *,
        batch_size: int,
        seeds: Sequence[int],
    ) -> list[Continuation]:
        """`num_samples` continuations of each prompt, in the prompts' order.

        Args:
          prompts: texts.
          decoding: parameters of all of them.
          batch_size: rows decoded at once.
          seeds: of each prompt. Each sample of a prompt has its own (`sample_seed`).
        """
        samples = range(decoding.num_samples)
        rows = [(prompt, sample) for prompt in prompts for sample in samples]
        row_seeds = [sample_seed(seed, sample) for seed in seeds for sample in samples]
        results: list[Continuation] = []
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            seed = tf.constant(row_seeds[start : start + batch_size], tf.int64)
            parameters = from_config(decoding, len(batch))._replace(seed=seed)
            texts = tf.constant([prompt for prompt, _ in batch], tf.string)
            output = self.graph(texts, parameters)
            results += to_continuations(batch, to_lists(output), decoding)
        return results

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`generate`: every parameter is an input, nothing is taken from `decoding`.

        It gives one text a row and has no beam: num_samples, beam_width, num_best and the length
        penalty are no inputs. For several samples of a prompt, send it in several rows, each with
        its own seed.
        """
        return [
            Signature(
                name="generate",
                inputs=self.request_specs(),
                function=self._answer,
                example_inputs=self.example_inputs,
            )
        ]

    def request_specs(self) -> dict[str, tf.TensorSpec]:
        """The inputs of a request: the prompt and all decoding parameters."""
        text = row_specs(**{self.encoder.input_name: tf.string})
        return {**text, **PARAMETER_SPECS._asdict()}

    def example_inputs(self, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
        """Inputs of `generate` for `texts`, one sample each."""
        single = decoding.replace(num_samples=1, beam_width=1, num_best=1)
        return generate_inputs(self.encoder.input_name, texts, single)

    def _answer(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        prompts = inputs.pop(self.encoder.input_name)
        return self.graph(prompts, Parameters(**inputs))._asdict()

    def _generate(self, prompts: tf.Tensor, parameters: Parameters) -> Generation:
        nothing = not_started(tf.shape(prompts)[0], self.max_new_tokens)
        found, problem, truncated = self.continue_graph(prompts, parameters, nothing)
        outputs = shared_outputs(found, problem, self.tokenizer)
        return Generation(**outputs, prompt_truncated=truncated)

    def _continue(self, prompts: tf.Tensor, parameters: Parameters, paused: Paused) -> Continued:
        request = self.prefill.check(parameters)
        paused = _only_in(tf.equal(request.problem, ""), paused, self.tokenizer.pad_id)
        prefilled = self.prefill.start(prompts, request, paused)
        found = decode(
            prefilled.logits,
            prefilled.state,
            self.prefill.step,
            prefilled.inputs,
            paused=paused,
        )
        return Continued(found, request.problem, prefilled.prompt_truncated)


def generate_inputs(text_name: str, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
    """Inputs of the signature `generate`: `decoding` for each of `texts`."""
    inputs: Inputs = {text_name: list(texts)}
    for name, value in values_of(decoding).items():
        inputs[name] = [value] * len(texts)
    return inputs


def _only_in(rows: tf.Tensor, paused: Paused, pad_id: int) -> Paused:
    """The tokens so far of some rows, `[B]` bool, in as few columns as hold them."""
    lengths = tf.where(rows, paused.lengths, 0)
    unused = tf.shape(paused.tokens)[1] - tf.reduce_max(tf.concat([[0], lengths], axis=0))
    return paused._replace(
        tokens=tf.where(rows[:, tf.newaxis], paused.tokens, pad_id)[:, unused:],
        lengths=lengths,
        word=tf.where(rows, paused.word, 0),
        place=tf.where(rows, paused.place, 0),
    )
