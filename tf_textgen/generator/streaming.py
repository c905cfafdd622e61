"""Streaming without a stream: each request carries what the one before it answered, and asks for a
few tokens more.

A server's prediction calls are unary, and any of its replicas may answer the next one. So all that
has happened is in
the request: the ids of the tokens so far, since text that is tokenized again gives other ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.single_search import Begun
from tf_textgen.decoding.stopping import Stops, held_back, parse_stops
from tf_textgen.generator.requests import RequestReader
from tf_textgen.text.decimal_ids import join_ids, split_ids
from tf_textgen.text.rows import keep_first, pad_left
from tf_textgen.text.tokenizer import repair_utf8

# A state is decimal numbers: version, mark (of all that follows, and the prompt), the score's bits,
# the word being forced and how much of it is written, and the ids.
_VERSION = "1"
_MARKS = 10**10
_HEAD = 5
_FINISHED = "finished"
_BAD_STATE = (
    'invalid state: expected "", or the last answer\'s to this prompt unless that was finished'
)
_BAD_COUNT = "invalid chunk_tokens: expected an integer >= 1"


class Chunk(NamedTuple):
    """A continuation as far as it is, a row a prompt."""

    text: (
        tf.Tensor
    )  # [B] string, valid UTF-8, all of it so far; a later text begins with an earlier one
    state: tf.Tensor  # [B] string, ASCII, for the next request; of no use once the text is finished
    finished: tf.Tensor  # [B] bool, also of bad rows
    finish_reason: tf.Tensor  # [B] string, as in `Generation`, or "" while there is more to come
    score: tf.Tensor  # [B] float32, of all tokens so far, nats
    token_count: tf.Tensor  # [B] int32, of all tokens so far
    prompt_truncated: tf.Tensor  # [B] bool


class Streaming(RequestReader):
    """Continuations in chunks, which end as the same text that one request for all of it gives.

    Attributes:
      chunk_graph: `(prompts [B] string, states [B] string, chunk_tokens [B] int32, Parameters) ->
        Chunk`. The first state is ""; the parameters are those of the whole text, and the same in
        all of its requests.
    """

    chunk_graph: Callable[..., Chunk]

    def _generate_chunk(
        self, prompts: tf.Tensor, states: tf.Tensor, chunk_tokens: tf.Tensor, parameters: Parameters
    ) -> Chunk:
        numbers, problem = self._opened(
            prompts, states, tf.minimum(parameters.max_new_tokens, self.max_new_tokens)
        )
        problem = tf.where(tf.equal(problem, "") & (chunk_tokens < 1), _BAD_COUNT, problem)
        good = tf.equal(problem, "")
        more = tf.where(good, tf.minimum(chunk_tokens, self.max_new_tokens), 1)
        before, begun = self._begun(
            keep_first(numbers, tf.where(good, numbers.row_lengths(), 0)), more
        )
        found, unwanted, truncated = self.continue_graph(prompts, parameters, begun)
        problem = tf.where(tf.equal(unwanted, ""), problem, unwanted)
        good = tf.equal(problem, "")
        score = tf.saturate_cast(before + tf.cast(found.score, tf.float64), tf.float32)
        columns = tf.range(tf.shape(found.tokens)[1])
        first = found.first[:, tf.newaxis]
        written = (columns >= first) & (columns < first + found.token_count[:, tf.newaxis])
        tokens = tf.ragged.boolean_mask(tf.cast(found.tokens, tf.int64), written)
        head = tf.stack(
            [_bits(score), tf.cast(found.word, tf.int64), tf.cast(found.place, tf.int64)], axis=1
        )
        next_states = self._sealed(
            prompts, tf.concat([tf.RaggedTensor.from_tensor(head), tokens], axis=1)
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

    def _opened(
        self, prompts: tf.Tensor, states: tf.Tensor, max_new_tokens: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """The numbers of each state, none of the first, and what is wrong with it `[B]`, or ""."""
        tokenizer = self.tokenizer
        numbers = split_ids(states)
        tokens = numbers[:, _HEAD:]
        ordinary = (tokens.flat_values >= 0) & (tokens.flat_values < tokenizer.vocabulary_size)
        for special in (
            tokenizer.pad_id,
            tokenizer.unk_id,
            tokenizer.bos_id,
            tokenizer.eos_id,
            tokenizer.sep_id,
        ):
            ordinary &= tf.not_equal(tokens.flat_values, special)
        count = tf.cast(tokens.row_lengths(), tf.int32)
        fits = tf.reduce_all(tokens.with_flat_values(ordinary), axis=1)
        fits &= (count > 0) & (count < max_new_tokens)
        fits &= ~tf.math.is_nan(_of_bits(numbers[:, 2:3].to_tensor(0, shape=[None, 1])[:, 0]))
        fits &= tf.equal(self._sealed(prompts, numbers[:, 2:]), states)
        return numbers, tf.where(fits | tf.equal(states, ""), "", _BAD_STATE)

    def _sealed(self, prompts: tf.Tensor, numbers: tf.RaggedTensor) -> tf.Tensor:
        """The state of `numbers`, marked as one of this tokenizer and prompt: damage and mix-ups
        show.
        """
        body = join_ids(numbers)
        everything = tf.strings.join([self.tokenizer.fingerprint, prompts, body], separator="\x1f")
        mark = tf.strings.as_string(tf.strings.to_hash_bucket_fast(everything, _MARKS))
        return tf.strings.join([_VERSION, mark, body], separator=" ")

    def _begun(self, numbers: tf.RaggedTensor, more: tf.Tensor) -> tuple[tf.Tensor, Begun]:
        """The score so far, `[B]` float64, and where the search is."""
        score, word, place = tf.unstack(numbers[:, 2:_HEAD].to_tensor(0, shape=[None, 3]), axis=1)
        tokens = tf.cast(numbers[:, _HEAD:], tf.int32)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        word = tf.cast(word, tf.int32)
        place = tf.cast(place, tf.int32)
        begun = Begun(pad_left(tokens, self.tokenizer.pad_id), lengths, word, place, more)
        return tf.cast(_of_bits(score), tf.float64), begun


def settled_text(texts: tf.Tensor, stops: Stops) -> tf.Tensor:
    """What of an unfinished text stays whatever comes: `[B]` string -> `[B]` string, valid UTF-8.

    An incomplete character at the end waits for the rest of it, and what may be the beginning of a
    stop string for the proof that it is none.
    """
    whole = tf.strings.regex_replace(repair_utf8(texts), "\ufffd+$", "")
    kept = tf.strings.length(whole) - held_back(whole, stops)
    return tf.strings.substr(whole, tf.zeros_like(kept), kept)


def without_score(state: str) -> str:
    """A state but for the score's bits and the mark of them, which differ with the
    order of a sum.
    """
    return " ".join(state.split(" ")[_HEAD - 2 :]) or state


def _bits(values: tf.Tensor) -> tf.Tensor:
    """A float32 exactly, as a number from 0 on: int64."""
    return tf.cast(tf.bitcast(values, tf.uint32), tf.int64)


def _of_bits(numbers: tf.Tensor) -> tf.Tensor:
    """What `_bits` was given: float32."""
    return tf.bitcast(tf.cast(numbers, tf.uint32), tf.float32)
