"""Streaming by unary requests: each carries the state of the answer before it, and asks for a few
tokens more.

A server's prediction calls are unary, and any of its replicas may answer the next one. So
everything that the next request needs is in the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.single_search import Decoded
from tf_textgen.decoding.stopping import Stops, held_back, parse_stops
from tf_textgen.generator.decoder import Decoder
from tf_textgen.generator.signature import PARAMETER_SPECS, TEXTS, Inputs, Signature, row_specs
from tf_textgen.generator.stream_state import StreamStates
from tf_textgen.text.rows import keep_first
from tf_textgen.text.tokenizer import repair_utf8

_EXAMPLE_CHUNK_TOKENS = 8
_FINISHED = "finished"
_BAD_COUNT = "invalid chunk_tokens: expected an integer >= 1"


class Chunk(NamedTuple):
    """The texts so far, one for each prompt; the outputs of the signature `generate_chunk`.

    Attributes:
      text: `[B]` string, valid UTF-8, as it is appended to the prompt, all of it so far. A later
        text begins with an earlier one.
      state: `[B]` string, ASCII, for the next request; without use once the text is finished.
      finished: `[B]` bool, True in bad rows too.
      finish_reason: `[B]` string, as in `Generation`, or "" if the text is not finished.
      score: `[B]` float32, of all tokens so far, nats.
      token_count: `[B]` int32, of all tokens so far.
      prompt_truncated: `[B]` bool.
    """

    text: tf.Tensor
    state: tf.Tensor
    finished: tf.Tensor
    finish_reason: tf.Tensor
    score: tf.Tensor
    token_count: tf.Tensor
    prompt_truncated: tf.Tensor


class Streamer:
    """Continues prompts in chunks, which end as the same text that one request for all of it gives.

    Args:
      decoder: continues a text from an earlier state.

    Attributes:
      graph: `(prompts [B] string, states [B] string, chunk_tokens [B] int32, Parameters) -> Chunk`.
        The first state is ""; the parameters are those of the whole text, and the same in all of
        its requests.
    """

    graph: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, Parameters], Chunk]

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.states = StreamStates(decoder.tokenizer)
        count = tf.TensorSpec([None], tf.int32)
        self.graph = tf.function(
            self._generate_chunk,
            autograph=False,
            input_signature=[TEXTS, TEXTS, count, PARAMETER_SPECS],
        )

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`generate_chunk`: the inputs of `generate`, state ("" at first, then that of the last
        answer) and chunk_tokens.
        """
        own = row_specs(state=tf.string, chunk_tokens=tf.int32)
        return [
            Signature(
                name="generate_chunk",
                inputs={**self.decoder.request_specs(), **own},
                function=self._answer,
                example_inputs=self._example_inputs,
            )
        ]

    def _answer(
        self, state: tf.Tensor, chunk_tokens: tf.Tensor, **inputs: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        prompts = inputs.pop(self.decoder.encoder.input_name)
        return self.graph(prompts, state, chunk_tokens, Parameters(**inputs))._asdict()

    def _example_inputs(self, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
        return {
            **self.decoder.example_inputs(texts, decoding),
            "state": [""] * len(texts),
            "chunk_tokens": [_EXAMPLE_CHUNK_TOKENS] * len(texts),
        }

    def _generate_chunk(
        self, prompts: tf.Tensor, states: tf.Tensor, chunk_tokens: tf.Tensor, parameters: Parameters
    ) -> Chunk:
        most = self.decoder.max_new_tokens
        bound = tf.minimum(parameters.max_new_tokens, most)
        numbers, problem = self.states.parse(prompts, states, bound)
        problem = tf.where(tf.equal(problem, "") & (chunk_tokens < 1), _BAD_COUNT, problem)
        good = tf.equal(problem, "")
        more = tf.where(good, tf.minimum(chunk_tokens, most), 1)
        numbers = keep_first(numbers, tf.where(good, numbers.row_lengths(), 0))
        before, paused = self.states.resume(numbers, more)
        found, refused, truncated = self.decoder.continue_graph(prompts, parameters, paused)
        problem = tf.where(tf.equal(refused, ""), problem, refused)
        good = tf.equal(problem, "")
        score = tf.saturate_cast(before + tf.cast(found.score, tf.float64), tf.float32)
        next_states = self.states.write(
            prompts, _written(found), score=score, word=found.word, place=found.place
        )
        finished = tf.not_equal(found.finish_reason, "")
        stops = parse_stops(tf.where(good, parameters.stop, ""))
        text = tf.where(finished, repair_utf8(found.texts), settled_text(found.texts, stops))
        return Chunk(
            text=tf.where(good, text, ""),
            state=tf.where(good, tf.where(finished, _FINISHED, next_states), ""),
            finished=finished | ~good,
            finish_reason=tf.where(good, found.finish_reason, problem),
            score=tf.where(good, score, 0.0),
            token_count=tf.where(good, found.token_count, 0),
            prompt_truncated=truncated,
        )


def settled_text(texts: tf.Tensor, stops: Stops) -> tf.Tensor:
    """The part of an unfinished text that no further token changes: `[B]` string, valid UTF-8.

    An incomplete character at the end waits for the rest of it, and a possible beginning of a stop
    string for the proof that it is not one.

    Args:
      texts: `[B]` string, as the tokens so far give them.
      stops: the stop strings of each row.
    """
    whole = tf.strings.regex_replace(repair_utf8(texts), "\ufffd+$", "")
    kept = tf.strings.length(whole) - held_back(whole, stops)
    return tf.strings.substr(whole, tf.zeros_like(kept), kept)


def _written(found: Decoded) -> tf.RaggedTensor:
    """The tokens of each row without padding, `[B, None]` int64."""
    columns = tf.range(tf.shape(found.tokens)[1])
    first = found.first[:, tf.newaxis]
    written = (columns >= first) & (columns < first + found.token_count[:, tf.newaxis])
    return tf.ragged.boolean_mask(tf.cast(found.tokens, tf.int64), written)
