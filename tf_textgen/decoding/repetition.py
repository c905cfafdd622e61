"""Logits processors that look back: what a row has written already is weakened or forbidden."""

from __future__ import annotations

import tensorflow as tf

from tf_textgen.decoding.state import History


def penalize_repetition(logits: tf.Tensor, penalty: tf.Tensor, history: History) -> tf.Tensor:
    """Divides positive logits of the prompt's and the continuation's tokens by the penalty,
    multiplies negative ones.

    Reference: Keskar et al. (2019), CTRL, section 4.1; the sign rule is Hugging Face's.
    """
    sequence = history.sequence
    columns = tf.range(tf.shape(history.sequence)[1])
    counted = (columns >= history.start[:, tf.newaxis]) & (columns < history.end)
    seen = token_counts(sequence, counted, logits.shape[-1]) > 0
    penalty = penalty[:, tf.newaxis]
    weakened = tf.where(logits < 0.0, logits * penalty, logits / penalty)
    weakened = tf.clip_by_value(
        weakened, tf.float32.min, tf.float32.max
    )  # an overflow is not an impossibility
    return tf.where(seen & tf.math.is_finite(logits), weakened, logits)


def penalize_counts(
    logits: tf.Tensor, frequency: tf.Tensor, presence: tf.Tensor, history: History
) -> tf.Tensor:
    """Takes `frequency` for each time that the continuation has a token, and `presence` once, from
    its logit.

    The prompt does not count.

    Reference: the API documentation of OpenAI, which gives the formula under "frequency and
    presence penalties".
    """
    written = tf.broadcast_to(
        tf.range(tf.shape(history.tokens)[1]) < history.step, tf.shape(history.tokens)
    )
    counts = tf.cast(token_counts(history.tokens, written, logits.shape[-1]), tf.float32)
    taken = counts * frequency[:, tf.newaxis] + tf.minimum(counts, 1.0) * presence[:, tf.newaxis]
    return tf.where(counts > 0.0, logits - taken, logits)


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
    size = tf.minimum(size, end + 1)[:, tf.newaxis]  # of so many tokens none has come yet
    first = tf.maximum(size - 1, 0) + start[:, tf.newaxis]  # before it there is no n-gram
    enough = (size > 0) & (columns >= first) & (columns < end) & (end >= first)

    def undecided(back: tf.Tensor, same: tf.Tensor) -> tf.Tensor:
        """Whether an n-gram may yet prove to be another one: a wish that nothing can match must
        cost nothing.
        """
        return tf.reduce_any(same & (back < size))

    def compare(back: tf.Tensor, same: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compares the tokens `back` places before each column and before the end."""
        equal = tf.equal(tf.roll(tokens, back, axis=1), tokens[:, end - back, tf.newaxis])
        return back + 1, same & (equal | (back >= size))

    return tf.while_loop(undecided, compare, (tf.constant(1), enough))[1]


def forbid(logits: tf.Tensor, tokens: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Takes `tokens` from each row, those for which `where` is true; both are `[B, N]`."""
    return tf.where(token_counts(tokens, where, logits.shape[-1]) > 0, -float("inf"), logits)


def token_counts(tokens: tf.Tensor, where: tf.Tensor, vocabulary_size: int) -> tf.Tensor:
    """Counts each id in a row at the places that `where` selects; ids outside the vocabulary are
    ignored.

    Made again in each step: that takes less than to carry `[B, V]` through the loop, and nothing
      if nobody asks.

    Args:
      tokens: `[B, N]` int32.
      where: `[B, N]` bool.
      vocabulary_size: `V`.

    Returns:
      `[B, V]` int32.
    """
    rows, width = tf.unstack(tf.shape(tokens))
    where &= (tokens >= 0) & (tokens < vocabulary_size)
    row = tf.broadcast_to(tf.range(rows)[:, tf.newaxis], [rows, width])
    places = tf.stack([row, tf.where(where, tokens, 0)], axis=-1)  # --> [B, N, 2]
    return tf.scatter_nd(places, tf.cast(where, tf.int32), tf.stack([rows, vocabulary_size]))
