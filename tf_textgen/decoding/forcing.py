"""Words that a text must have: written if the model would end without them, at the latest where
room runs out.

The guarantee is exact: a row that ends by its end token or its length has every forced word, since
  - the end token is impossible while a word is missing: a search that picks it writes the first
    missing word instead;
  - a missing word is begun as soon as the tokens left are as many as all missing words together
    take;
  - a word that is begun is written to its last token.
A word counts as written if its tokens are consecutive in the continuation.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.constraints import Words, contained, ends_with


class Forcing(NamedTuple):
    """How far the forced words of each row are."""

    found: tf.Tensor  # [B, K] bool, words that the continuation has, or that are none
    word: tf.Tensor  # [B] int32, the word that is being written
    place: tf.Tensor  # [B] int32, how many of its tokens are written; 0 where none is being written


def begin(words: Words) -> Forcing:
    """Nothing is written yet."""
    none = tf.zeros(tf.shape(words.lengths)[:1], tf.int32)
    return Forcing(tf.equal(words.lengths, 0), none, none)


def resume(words: Words, tokens: tf.Tensor, word: tf.Tensor, place: tf.Tensor) -> Forcing:
    """The state after `tokens` (`[B, N]` int32), from `word` and `place` as they were reported;
    nonsense counts as none.
    """
    own = tf.equal(tf.range(tf.shape(words.lengths)[1]), word[:, tf.newaxis])
    fits = tf.reduce_any(own & (place[:, tf.newaxis] < words.lengths), axis=1) & (place >= 0)
    found = tf.equal(words.lengths, 0) | contained(words, tokens)
    return Forcing(found, tf.where(fits, word, 0), tf.where(fits, place, 0))


def missing(state: Forcing) -> tf.Tensor:
    """Rows that may not end yet, `[B]` bool."""
    return ~tf.reduce_all(state.found, axis=1)


def is_due(state: Forcing, words: Words, left: tf.Tensor) -> tf.Tensor:
    """Rows in which the next token is one of a forced word.

    Args:
      state: of the rows.
      words: the forced words.
      left: `[B]` int32, how many tokens a row may still have.

    Returns:
      `[B]` bool.
    """
    needed = tf.reduce_sum(tf.where(state.found, 0, words.lengths), axis=1)
    return (state.place > 0) | (missing(state) & (left <= needed))


def next_token(state: Forcing, words: Words) -> tf.Tensor:
    """The token with which the word being written, or else the first missing one, continues: `[B]`
    int32.

    Of no meaning in rows that miss no word.
    """
    places = tf.stack([_current(state), state.place], axis=1)
    return tf.maximum(tf.gather_nd(words.tokens, places, batch_dims=1), 0)


def advance(
    state: Forcing, words: Words, tokens: tf.Tensor, end: tf.Tensor, wrote: tf.Tensor
) -> Forcing:
    """The state after one more token.

    Args:
      state: before it.
      words: the forced words.
      tokens: `[B, N]` int32, the continuations.
      end: scalar int32, how many tokens they have now.
      wrote: `[B]` bool, rows whose last token was that of `next_token`.
    """
    word = _current(state)
    place = tf.where(wrote, state.place + 1, 0)
    complete = place >= tf.gather(words.lengths, word, batch_dims=1)
    found = state.found | ends_with(words, tokens, tf.zeros_like(word), end, dropped=0)
    return Forcing(found, word, tf.where(complete, 0, place))


def _current(state: Forcing) -> tf.Tensor:
    last = tf.shape(state.found)[1] - 1
    first_missing = tf.reduce_min(tf.where(state.found, last, tf.range(last + 1)), axis=1)
    return tf.where(state.place > 0, state.word, first_missing)
