"""Words that a text must have: written if the model would end without them, or room runs out.

The guarantee is exact: a row that ends by its end token or its length has every forced word, since
  - the end token is impossible while a word is missing: a search that picks it writes the first
    missing word instead;
  - a missing word is started as soon as all missing words together take the tokens that are left;
  - a word that is started is written to its last token.
A word counts as written if its tokens are consecutive in the continuation.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.constraints import Words, contained, ends_with


class Forcing(NamedTuple):
    """How far the forced words of each row are.

    Attributes:
      found: `[B, K]` bool, words that the continuation has, or empty places.
      word: `[B]` int32, the word that is being written.
      place: `[B]` int32, number of its tokens that are written; 0 if no word is being written.
    """

    found: tf.Tensor
    word: tf.Tensor
    place: tf.Tensor


def begin(words: Words) -> Forcing:
    """The state before the first token."""
    zeros = tf.zeros(tf.shape(words.lengths)[:1], tf.int32)
    return Forcing(tf.equal(words.lengths, 0), zeros, zeros)


def resume(words: Words, tokens: tf.Tensor, word: tf.Tensor, place: tf.Tensor) -> Forcing:
    """The state after an earlier search.

    Args:
      words: the forced words.
      tokens: `[B, N]` int32, the continuations.
      word: `[B]` int32, as reported by that search; an impossible value counts as no word.
      place: `[B]` int32, as reported by that search.
    """
    own = tf.equal(tf.range(tf.shape(words.lengths)[1]), word[:, tf.newaxis])
    is_within = own & (place[:, tf.newaxis] < words.lengths)
    fits = tf.reduce_any(is_within, axis=1) & (place >= 0)
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
      left: `[B]` int32, number of tokens that a row may still have.

    Returns:
      `[B]` bool.
    """
    needed = tf.reduce_sum(tf.where(state.found, 0, words.lengths), axis=1)
    is_started = state.place > 0
    return is_started | (missing(state) & (left <= needed))


def next_token(state: Forcing, words: Words) -> tf.Tensor:
    """The next token of the word that is being written, or of the first missing word: `[B]` int32.

    Of no meaning in rows that miss no word.
    """
    places = tf.stack([_current(state), state.place], axis=1)
    tokens = tf.gather_nd(words.tokens, places, batch_dims=1)
    return tf.maximum(tokens, 0)


def advance(
    state: Forcing, words: Words, tokens: tf.Tensor, end: tf.Tensor, wrote: tf.Tensor
) -> Forcing:
    """The state after one more token.

    Args:
      state: before it.
      words: the forced words.
      tokens: `[B, N]` int32, the continuations.
      end: scalar int32, number of tokens that they have now.
      wrote: `[B]` bool, rows whose last token was that of `next_token`.
    """
    word = _current(state)
    place = tf.where(wrote, state.place + 1, 0)
    complete = place >= tf.gather(words.lengths, word, batch_dims=1)
    found = state.found | ends_with(words, tokens, tf.zeros_like(word), end, dropped=0)
    return Forcing(found, word, tf.where(complete, 0, place))


def _current(state: Forcing) -> tf.Tensor:
    last = tf.shape(state.found)[1] - 1
    missing_words = tf.where(state.found, last, tf.range(last + 1))
    first_missing = tf.reduce_min(missing_words, axis=1)
    return tf.where(state.place > 0, state.word, first_missing)
