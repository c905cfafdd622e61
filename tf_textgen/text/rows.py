"""Operations on rows of token ids of unequal length: cut, frame and pad, in the graph."""

from __future__ import annotations

import tensorflow as tf


def keep_first(tokens: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Returns the first `count` (`[B]`) tokens of each row of `tokens` (`[B, None]`)."""
    kept = _columns(tokens) < _per_token(count, tokens)
    return tf.ragged.boolean_mask(tokens, tokens.with_flat_values(kept))


def keep_last(tokens: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Returns the last `count` (`[B]`) tokens of each row of `tokens` (`[B, None]`)."""
    dropped = tokens.row_lengths() - tf.cast(count, tokens.row_splits.dtype)
    kept = _columns(tokens) >= _per_token(dropped, tokens)
    return tf.ragged.boolean_mask(tokens, tokens.with_flat_values(kept))


def repeat_id(token_id: int, counts: tf.Tensor) -> tf.RaggedTensor:
    """Returns rows that contain `token_id` `counts` (`[B]` int32) times."""
    ids = tf.fill([tf.reduce_sum(counts)], tf.constant(token_id, tf.int32))
    return tf.RaggedTensor.from_row_lengths(ids, tf.cast(counts, tf.int64))


def pad_left(tokens: tf.RaggedTensor, pad_id: int) -> tf.Tensor:
    """Returns `[B, P]` int32 in which all rows end in the last column.

    `P` is the length of the longest row, and at least 1, also without rows.
    """
    return tf.reverse(pad_right(tf.reverse(tokens, axis=[1]), pad_id), axis=[1])


def pad_right(tokens: tf.RaggedTensor, pad_id: int) -> tf.Tensor:
    """Returns `[B, T]` int32 in which all rows start in the first column.

    `T` is the length of the longest row, and at least 1.
    """
    padded = tokens.to_tensor(pad_id)
    missing = tf.maximum(1 - tf.shape(padded)[1], 0)
    return tf.pad(padded, [[0, 0], [0, missing]], constant_values=pad_id)


def _columns(tokens: tf.RaggedTensor) -> tf.Tensor:
    """Returns the column of each flat value."""
    flat = tf.range(tf.size(tokens.flat_values, out_type=tokens.row_splits.dtype))
    return flat - _per_token(tokens.row_starts(), tokens)


def _per_token(values: tf.Tensor, tokens: tf.RaggedTensor) -> tf.Tensor:
    """Repeats one value per row (`[B]`) for each token of the row."""
    return tf.gather(tf.cast(values, tokens.row_splits.dtype), tokens.value_rowids())
