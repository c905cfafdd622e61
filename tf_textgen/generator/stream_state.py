"""The state of a streamed text, as one string that a client sends back with its next request.

It holds the ids of the tokens so far, because text that is tokenized again gives other ids.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.single_search import Paused
from tf_textgen.text.decimal_ids import join_ids, split_ids
from tf_textgen.text.rows import pad_left
from tf_textgen.text.tokenizer import Tokenizer

_VERSION = "1"
_CHECKSUMS = 10**10
# The numbers before the ids: version, checksum (of the prompt and of all that follows), the bits of
# the score, the word being forced, and how many of its tokens are written.
_HEADER = 5
_UNCHECKED = 2
_BAD_STATE = (
    'invalid state: expected "", or the last answer\'s to this prompt unless that was finished'
)


class Resumed(NamedTuple):
    """The rows so far.

    Attributes:
      score: `[B]` float64, nats.
      paused: the tokens, as a search continues them.
    """

    score: tf.Tensor
    paused: Paused


class StreamStates:
    """Writes and reads the states of one tokenizer.

    Args:
      tokenizer: of the tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._special_ids = (
            tokenizer.pad_id,
            tokenizer.unk_id,
            tokenizer.bos_id,
            tokenizer.eos_id,
            tokenizer.sep_id,
        )

    def parse(
        self, prompts: tf.Tensor, states: tf.Tensor, max_new_tokens: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """The numbers of each state, and the error of a bad one.

        Args:
          prompts: `[B]` string, to which the states must belong.
          states: `[B]` string, "" at the start of a text.
          max_new_tokens: `[B]` int32; a state has fewer tokens.

        Returns:
          `[B, None]` int64, no numbers of the first state, and `[B]` string, "" if it is good.
        """
        numbers = split_ids(states)
        tokens = numbers[:, _HEADER:]
        vocabulary_size = self.tokenizer.vocabulary_size
        ordinary = (tokens.flat_values >= 0) & (tokens.flat_values < vocabulary_size)
        for special_id in self._special_ids:
            ordinary &= tf.not_equal(tokens.flat_values, special_id)
        count = tf.cast(tokens.row_lengths(), tf.int32)
        valid = tf.reduce_all(tokens.with_flat_values(ordinary), axis=1)
        valid &= (count > 0) & (count < max_new_tokens)
        scores = numbers[:, 2:3].to_tensor(0, shape=[None, 1])[:, 0]
        valid &= ~tf.math.is_nan(_from_bits(scores))
        valid &= tf.equal(self.sealed(prompts, numbers[:, _UNCHECKED:]), states)
        return numbers, tf.where(valid | tf.equal(states, ""), "", _BAD_STATE)

    def resume(self, numbers: tf.RaggedTensor, more: tf.Tensor) -> Resumed:
        """The rows so far, from the numbers of their states.

        Args:
          numbers: `[B, None]` int64, as `parse` returns them.
          more: `[B]` int32, number of tokens to add before the row pauses.
        """
        header = numbers[:, _UNCHECKED:_HEADER].to_tensor(0, shape=[None, 3])
        score, word, place = tf.unstack(header, axis=1)
        tokens = tf.cast(numbers[:, _HEADER:], tf.int32)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        word = tf.cast(word, tf.int32)
        place = tf.cast(place, tf.int32)
        paused = Paused(pad_left(tokens, self.tokenizer.pad_id), lengths, word, place, more)
        return Resumed(tf.cast(_from_bits(score), tf.float64), paused)

    def write(
        self,
        prompts: tf.Tensor,
        tokens: tf.RaggedTensor,
        *,
        score: tf.Tensor,
        word: tf.Tensor,
        place: tf.Tensor,
    ) -> tf.Tensor:
        """The states of rows that have not finished.

        Args:
          prompts: `[B]` string.
          tokens: `[B, None]` int64, all of them so far.
          score: `[B]` float32, nats.
          word: `[B]` int32, as in `single_search.Paused`.
          place: `[B]` int32, as in `single_search.Paused`.
        """
        header = tf.stack(
            [_to_bits(score), tf.cast(word, tf.int64), tf.cast(place, tf.int64)], axis=1
        )
        numbers = tf.concat([tf.RaggedTensor.from_tensor(header), tokens], axis=1)
        return self.sealed(prompts, numbers)

    def sealed(self, prompts: tf.Tensor, numbers: tf.RaggedTensor) -> tf.Tensor:
        """`numbers` with a version and a checksum, which detects damage and mix-ups: `[B]` string.

        The checksum includes the tokenizer and the prompt.
        """
        body = join_ids(numbers)
        checked = tf.strings.join([self.tokenizer.fingerprint, prompts, body], separator="\x1f")
        checksum = tf.strings.as_string(tf.strings.to_hash_bucket_fast(checked, _CHECKSUMS))
        return tf.strings.join([_VERSION, checksum, body], separator=" ")


def without_score(state: str) -> str:
    """A state without the bits of its score and the checksum of them.

    They differ if the same numbers are added in another order.
    """
    return " ".join(state.split(" ")[_UNCHECKED + 1 :]) or state


def _to_bits(values: tf.Tensor) -> tf.Tensor:
    """A float32 exactly, as an int64 that is not negative."""
    return tf.cast(tf.bitcast(values, tf.uint32), tf.int64)


def _from_bits(numbers: tf.Tensor) -> tf.Tensor:
    """The float32 that `_to_bits` was given."""
    return tf.bitcast(tf.cast(numbers, tf.uint32), tf.float32)
