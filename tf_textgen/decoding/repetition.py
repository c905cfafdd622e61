"""Logits processors that look back: tokens of the text so far are weakened or forbidden."""

from __future__ import annotations

import tensorflow as tf

from tf_textgen.decoding.state import History


def penalize_repetition(logits: tf.Tensor, penalty: tf.Tensor, history: History) -> tf.Tensor:
    """Divides positive logits of the prompt's and the continuation's tokens by the penalty, and
    multiplies negative ones.

    Args:
      logits: `[B, V]` float32.
      penalty: `[B]` float32, 1 does nothing.
      history: of the rows.

    Reference: Keskar et al. (2019), CTRL, section 4.1; the sign rule is Hugging Face's.
    """
    sequence = history.sequence
    columns = tf.range(tf.shape(sequence)[1])
    counted = (columns >= history.start[:, tf.newaxis]) & (columns < history.end)
    seen = token_counts(sequence, counted, logits.shape[-1]) > 0
    penalty = penalty[:, tf.newaxis]
    weakened = tf.where(logits < 0.0, logits * penalty, logits / penalty)
    # A token whose logit overflows is still possible.
    weakened = tf.clip_by_value(weakened, tf.float32.min, tf.float32.max)
    return tf.where(seen & tf.math.is_finite(logits), weakened, logits)


def penalize_counts(
    logits: tf.Tensor, frequency: tf.Tensor, presence: tf.Tensor, history: History
) -> tf.Tensor:
    """Subtracts `frequency` for each time that the continuation has a token, and `presence` once.

    The prompt does not count.

    Args:
      logits: `[B, V]` float32.
      frequency: `[B]` float32.
      presence: `[B]` float32.
      history: of the rows.

    Reference: the API documentation of OpenAI, which gives the formula under "frequency and
    presence penalties".
    """
    tokens = history.tokens
    is_written = tf.range(tf.shape(tokens)[1]) < history.step
    is_written = tf.broadcast_to(is_written, tf.shape(tokens))
    counts = tf.cast(token_counts(tokens, is_written, logits.shape[-1]), tf.float32)
    by_frequency = counts * frequency[:, tf.newaxis]
    by_presence = tf.minimum(counts, 1.0) * presence[:, tf.newaxis]
    return tf.where(counts > 0.0, logits - (by_frequency + by_presence), logits)


def forbid_ngrams(logits: tf.Tensor, size: tf.Tensor, history: History) -> tf.Tensor:
    """Forbids the tokens with which the last `size` tokens would occur in prompt and continuation a
    second time.

    Args:
      logits: `[B, V]` float32.
      size: `[B]` int32, 0 = forbid nothing.
      history: of the rows.

    Reference: Paulus et al. (2018), A deep reinforced model for abstractive summarization, section
    2.5.
    """
    again = repeated_ngrams(history.sequence, history.start, history.end, size)
    return forbid(logits, history.sequence, again)


def repeated_ngrams(
    tokens: tf.Tensor, start: tf.Tensor, end: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """The columns of tokens that follow the same `size - 1` tokens as the next token does.

    Args:
      tokens: `[B, N]` int32.
      start: `[B]` int32, the first column that counts.
      end: scalar int32, the column of the next token.
      size: `[B]` int32.

    Returns:
      `[B, N]` bool.
    """
    columns = tf.range(tf.shape(tokens)[1])
    # A sequence of more tokens has not occurred.
    size = tf.minimum(size, end + 1)[:, tf.newaxis]
    # The first column at which an n-gram can end.
    first = tf.maximum(size - 1, 0) + start[:, tf.newaxis]
    is_end = (columns >= first) & (columns < end)
    enough = (size > 0) & is_end & (end >= first)

    def undecided(back: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
        """Whether an n-gram may still differ: a size that nothing can match must cost nothing."""
        return tf.reduce_any(same & (back < size))

    def compare(back: tf.Tensor, same: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compares the tokens `back` places before each column and before the end."""
        earlier = tf.roll(tokens, back, axis=1)
        equal = tf.equal(earlier, tokens[:, end - back, tf.newaxis])
        return back + 1, same & (equal | (back >= size))

    _, repeated = tf.while_loop(undecided, compare, (tf.constant(1), enough))
    return repeated


def forbid(logits: tf.Tensor, tokens: tf.Tensor, selected: tf.Tensor) -> tf.Tensor:
    """Makes the selected ones of `tokens` impossible in each row; both are `[B, N]`."""
    is_forbidden = token_counts(tokens, selected, logits.shape[-1]) > 0
    return tf.where(is_forbidden, -float("inf"), logits)


def token_counts(tokens: tf.Tensor, selected: tf.Tensor, vocabulary_size: int) -> tf.Tensor:
    """Counts each id in the selected places of a row; ids outside the vocabulary are ignored.

    Computed again in each step: that takes less time than to carry `[B, V]` through the loop, and
    none if no row has a penalty.

    Args:
      tokens: `[B, N]` int32.
      selected: `[B, N]` bool.
      vocabulary_size: `V`.

    Returns:
      `[B, V]` int32.
    """
    rows, width = tf.unstack(tf.shape(tokens))
    selected &= (tokens >= 0) & (tokens < vocabulary_size)
    row = tf.broadcast_to(tf.range(rows)[:, tf.newaxis], [rows, width])
    # --> [B, N, 2]
    places = tf.stack([row, tf.where(selected, tokens, 0)], axis=-1)
    shape = tf.stack([rows, vocabulary_size])
    return tf.scatter_nd(places, tf.cast(selected, tf.int32), shape)
