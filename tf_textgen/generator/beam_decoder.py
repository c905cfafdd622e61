"""The best texts for each prompt, by a beam search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_textgen.decoding.beam_search import beam_search
from tf_textgen.decoding.continuation import Continuation
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import (
    LENGTH_PENALTY_DTYPES,
    LengthPenalty,
    length_penalty_of,
    sanitize_length_penalty,
)
from tf_textgen.decoding.parameters import (
    DTYPES,
    SEARCH_FIELDS,
    Parameters,
    from_config,
    values_of,
)
from tf_textgen.generator.compiled import decoding_graph
from tf_textgen.generator.prefill import Prefill
from tf_textgen.generator.results import (
    BestGeneration,
    shared_outputs,
    to_best_continuations,
    to_lists,
)
from tf_textgen.generator.signature import PARAMETER_SPECS, TEXTS, Inputs, Signature, row_specs

_PENALTY_SPECS = LengthPenalty(**row_specs(**LENGTH_PENALTY_DTYPES._asdict()))

BeamGraph = Callable[[tf.Tensor, Parameters, LengthPenalty], BestGeneration]


class BeamDecoder:
    """Finds the best continuations of each prompt.

    Args:
      prefill: reads the prompts.
    """

    def __init__(self, prefill: Prefill) -> None:
        self.prefill = prefill
        self.encoder = prefill.encoder
        self.tokenizer = prefill.tokenizer
        self._graphs: dict[tuple[int, int], BeamGraph] = {}

    def graph(self, width: int, num_best: int) -> BeamGraph:
        """`(prompts [B] string, Parameters, LengthPenalty) -> BestGeneration`.

        It is traced once for each width and number.

        Args:
          width: `W`, hypotheses that the beam keeps.
          num_best: n, at most `width`.
        """
        key = (width, num_best)
        if key in self._graphs:
            return self._graphs[key]

        def search(
            prompts: tf.Tensor, parameters: Parameters, penalty: LengthPenalty
        ) -> BestGeneration:
            return self._search(prompts, parameters, penalty, width, num_best)

        self._graphs[key] = decoding_graph(
            search,
            [TEXTS, PARAMETER_SPECS, _PENALTY_SPECS],
            in_few_shapes=self.prefill.jit_compile,
        )
        return self._graphs[key]

    def generate(
        self, prompts: Sequence[str], decoding: DecodingConfig, *, batch_size: int
    ) -> list[Continuation]:
        """The `num_best` continuations of each prompt, or as many as the beam finds."""
        graph = self.graph(decoding.beam_width, decoding.num_best)
        results: list[Continuation] = []
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            rows = len(batch)
            output = graph(
                tf.constant(batch, tf.string),
                from_config(decoding, rows),
                length_penalty_of(decoding, rows),
            )
            results += to_best_continuations(batch, to_lists(output), decoding)
        return results

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`beam_search`, if `decoding` has a beam: its width and num_best are fixed in the graph.

        The inputs are the parameters that do not sample (no seed, no temperature, no cut-offs) and
        the length penalty.
        """
        if decoding.beam_width == 1:
            return []
        graph = self.graph(decoding.beam_width, decoding.num_best)

        def answer(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            prompts = inputs.pop(self.encoder.input_name)
            penalty = LengthPenalty(*(inputs.pop(name) for name in LengthPenalty._fields))
            parameters = from_config(decoding, tf.shape(prompts)[0])._replace(**inputs)
            return graph(prompts, parameters, penalty)._asdict()

        dtypes = {
            self.encoder.input_name: tf.string,
            **{name: getattr(DTYPES, name) for name in SEARCH_FIELDS},
            **LENGTH_PENALTY_DTYPES._asdict(),
        }
        return [
            Signature(
                name="beam_search",
                inputs=row_specs(**dtypes),
                function=answer,
                example_inputs=self._example_inputs,
            )
        ]

    def _example_inputs(self, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
        return beam_inputs(self.encoder.input_name, texts, decoding)

    def _search(
        self,
        prompts: tf.Tensor,
        parameters: Parameters,
        penalty: LengthPenalty,
        width: int,
        num_best: int,
    ) -> BestGeneration:
        request = self.prefill.check(parameters)
        penalty, misfit = sanitize_length_penalty(penalty)
        problem = tf.where(tf.equal(request.problem, ""), misfit, request.problem)[:, tf.newaxis]
        prefilled = self.prefill.start(prompts, request)
        found = beam_search(
            prefilled.logits,
            prefilled.state,
            self.prefill.step,
            prefilled.inputs,
            penalty,
            width=width,
            num_best=num_best,
        )
        normalized = tf.where(tf.equal(problem, ""), found.normalized_score, 0.0)
        return BestGeneration(
            **shared_outputs(found, problem, self.tokenizer),
            normalized_score=normalized,
            prompt_truncated=prefilled.prompt_truncated,
        )


def beam_inputs(text_name: str, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
    """Inputs of the signature `beam_search`: `decoding` for each of `texts`."""
    values = values_of(decoding)
    inputs: Inputs = {text_name: list(texts)}
    for name in SEARCH_FIELDS:
        inputs[name] = [values[name]] * len(texts)
    for name in LengthPenalty._fields:
        inputs[name] = [getattr(decoding, name)] * len(texts)
    return inputs
