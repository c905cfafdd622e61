"""What an export offers: each signature's function, its inputs, and inputs to try it with.

`B` rows; every input has the batch first and nothing behind it, since TF Serving merges requests
along the batch:
  serving_default  text `[B]` string -> text `[B]` string, with all decoding parameters as the
  export fixed them; of a
                   beam the best text, of several samples (num_samples) the first
  generate         prompt (or source) `[B]` string and every parameter of `Parameters` as `[B]`,
  none taken from the
                   export ->
                   text, score, token_count, finish_reason, prompt_truncated,
                   token_log_probabilities `[B, N]`, token_texts `[B, N]`.
                   One text a row and no beam: num_samples, beam_width, num_best and the length
                   penalty are not read; who wants several samples sends the prompt in several rows,
                   each with a seed of its own
  generate_chunk   the same inputs, state `[B]` string ("" at first, then what the last answer said)
  and chunk_tokens
                   `[B]` int32 -> text (all of it so far), state, finished, finish_reason, score,
                   token_count, prompt_truncated
  beam_search      only of an export with a beam, which fixes beam_width and num_best, n here:
                   prompt (or source), the parameters that do not sample and the length penalty, as
                   `[B]` (no seed, no temperature, no cut-offs) -> text, score, normalized_score,
                   token_count, finish_reason `[B, n]`, prompt_truncated `[B]`,
                   token_log_probabilities, token_texts `[B, n, N]`
  score            text (and source) `[B]` string -> log_probability, token_count, perplexity,
                   token_log_probabilities `[B, T]`, token_texts `[B, T]`, truncated
  tokenize         text `[B]` string -> tokens `[B]` string (ids in decimal with spaces between),
  token_count,
                   token_texts `[B, T]`
  detokenize       tokens `[B]` string -> text, error (what is wrong with a row, or "")
  embed            only of a neural model: text `[B]` string -> embedding `[B, D]`, token_count,
    truncated
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import (
    LENGTH_PENALTY_DTYPES,
    LengthPenalty,
    length_penalty_of,
)
from tf_textgen.decoding.parameters import DTYPES, SEARCH_FIELDS, Parameters, from_config
from tf_textgen.export.exported import beam_inputs, generate_inputs
from tf_textgen.generator import TextGenerator

_CHUNK_TOKENS = 8  # of a request to try it with


class Signature(NamedTuple):
    """A function that a server offers.

    Attributes:
      function: tensors of `inputs` by name -> tensors by name.
      inputs: all `[B]`.
      example: texts and decoding parameters -> inputs, a list for each.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    example: Callable[[Sequence[str], DecodingConfig], dict[str, list[Any]]]


def signatures_of(generator: TextGenerator, decoding: DecodingConfig) -> dict[str, Signature]:
    """The signatures by name.

    Args:
      generator: answers them.
      decoding: the parameters of `serving_default`, and the beam of `beam_search`.
    """
    found = {**_generating(generator, decoding), **_reading(generator)}
    if decoding.beam_width > 1:
        found["beam_search"] = _searching(generator, decoding)
    return found


def _generating(generator: TextGenerator, decoding: DecodingConfig) -> dict[str, Signature]:
    text_name = _text_name(generator)
    parameters = _specs(**DTYPES._asdict())

    def serving_default(text: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.shape(text)[0]
        if decoding.beam_width > 1:
            graph = generator.beam_graph(
                decoding.beam_width, decoding.num_best
            )  # that of `beam_search`, once
            return {
                "text": graph(
                    text, from_config(decoding, rows), length_penalty_of(decoding, rows)
                ).text[:, 0]
            }
        return {"text": generator.generate_graph(text, from_config(decoding, rows)).text}

    def generate(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        text = inputs.pop(text_name)
        return generator.generate_graph(text, Parameters(**inputs))._asdict()

    def generate_chunk(
        state: tf.Tensor, chunk_tokens: tf.Tensor, **inputs: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        text = inputs.pop(text_name)
        return generator.chunk_graph(text, state, chunk_tokens, Parameters(**inputs))._asdict()

    def one(texts: Sequence[str], wanted: DecodingConfig) -> dict[str, list[Any]]:
        return generate_inputs(
            text_name, texts, dataclasses.replace(wanted, num_samples=1, beam_width=1, num_best=1)
        )

    def begin(texts: Sequence[str], wanted: DecodingConfig) -> dict[str, list[Any]]:
        return {
            **one(texts, wanted),
            "state": [""] * len(texts),
            "chunk_tokens": [_CHUNK_TOKENS] * len(texts),
        }

    wishes = _specs(**{text_name: tf.string}) | parameters
    return {
        "serving_default": Signature(serving_default, _specs(text=tf.string), _texts_alone),
        "generate": Signature(generate, wishes, one),
        "generate_chunk": Signature(
            generate_chunk, wishes | _specs(state=tf.string, chunk_tokens=tf.int32), begin
        ),
    }


def _searching(generator: TextGenerator, decoding: DecodingConfig) -> Signature:
    text_name = _text_name(generator)

    def beam_search(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        text = inputs.pop(text_name)
        penalty = LengthPenalty(*(inputs.pop(name) for name in LengthPenalty._fields))
        parameters = from_config(decoding, tf.shape(text)[0])._replace(**inputs)
        return generator.beam_graph(decoding.beam_width, decoding.num_best)(
            text, parameters, penalty
        )._asdict()

    dtypes = {
        name: getattr(DTYPES, name) for name in SEARCH_FIELDS
    } | LENGTH_PENALTY_DTYPES._asdict()
    inputs = _specs(**{text_name: tf.string}, **dtypes)
    return Signature(
        beam_search, inputs, lambda texts, wanted: beam_inputs(text_name, texts, wanted)
    )


def _reading(generator: TextGenerator) -> dict[str, Signature]:
    """Those that generate nothing."""
    text = _specs(text=tf.string)

    def score(text: tf.Tensor, source: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        sources = tf.fill(tf.shape(text), "") if source is None else source
        return generator.score_graph(sources, text)._asdict()

    def pairs(texts: Sequence[str], wanted: DecodingConfig) -> dict[str, list[Any]]:
        return (
            {"text": list(texts), "source": list(texts)}
            if generator.is_pair
            else _texts_alone(texts, wanted)
        )

    def ids(texts: Sequence[str], wanted: DecodingConfig) -> dict[str, list[Any]]:
        tokens = generator.tokenize_graph(tf.constant(texts, tf.string)).tokens
        return {"tokens": [row.decode() for row in tokens.numpy()]}

    found = {
        "score": Signature(
            score, text | _specs(source=tf.string) if generator.is_pair else text, pairs
        ),
        "tokenize": Signature(
            lambda text: generator.tokenize_graph(text)._asdict(), text, _texts_alone
        ),
        "detokenize": Signature(
            lambda tokens: generator.detokenize_graph(tokens)._asdict(),
            _specs(tokens=tf.string),
            ids,
        ),
    }
    if generator.has_vectors:
        found["embed"] = Signature(
            lambda text: generator.embed_graph(text)._asdict(), text, _texts_alone
        )
    return found


def _texts_alone(texts: Sequence[str], wanted: DecodingConfig) -> dict[str, list[Any]]:
    return {"text": list(texts)}


def _text_name(generator: TextGenerator) -> str:
    return "source" if generator.is_pair else "prompt"


def _specs(**dtypes: tf.DType) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec([None], dtype, name) for name, dtype in dtypes.items()}
