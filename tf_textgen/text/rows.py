"""Cutting, framing and padding rows of token ids of unequal length, in the graph."""

from __future__ import annotations

import tensorflow as tf


def keep_first(tokens: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """The first `count` (`[B]`) tokens of each row of `tokens` (`[B, None]`)."""
    return tf.ragged.boolean_mask(
        tokens, tokens.with_flat_values(_columns(tokens) < _a_token(count, tokens))
    )


def keep_last(tokens: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """The last `count` (`[B]`) tokens of each row of `tokens` (`[B, None]`)."""
    dropped = tokens.row_lengths() - tf.cast(count, tokens.row_splits.dtype)
    return tf.ragged.boolean_mask(
        tokens, tokens.with_flat_values(_columns(tokens) >= _a_token(dropped, tokens))
    )


def repeat_id(token_id: int, counts: tf.Tensor) -> tf.RaggedTensor:
    """Rows that hold `token_id` `counts` (`[B]` int32) times."""
    ids = tf.fill([tf.reduce_sum(counts)], tf.constant(token_id, tf.int32))
    return tf.RaggedTensor.from_row_lengths(ids, tf.cast(counts, tf.int64))


def pad_left(tokens: tf.RaggedTensor, pad_id: int) -> tf.Tensor:
    """`[B, P]` int32 in which all rows end at the same column; `P` is the longest row, at least 1
    (of no rows too).
    """
    return tf.reverse(pad_right(tf.reverse(tokens, axis=[1]), pad_id), axis=[1])


def pad_right(tokens: tf.RaggedTensor, pad_id: int) -> tf.Tensor:
    """`[B, T]` int32 in which all rows begin at the same column; `T` is the longest row, at least
    1.
    """
    padded = tokens.to_tensor(pad_id)
    return tf.pad(
        padded, [[0, 0], [0, tf.maximum(1 - tf.shape(padded)[1], 0)]], constant_values=pad_id
    )


def _columns(tokens: tf.RaggedTensor) -> tf.Tensor:
    """The column of each flat value."""
    flat = tf.range(tf.size(tokens.flat_values, out_type=tokens.row_splits.dtype))
    return flat - _a_token(tokens.row_starts(), tokens)


def _a_token(values: tf.Tensor, tokens: tf.RaggedTensor) -> tf.Tensor:
    """One value a row (`[B]`) made one value a token."""
    return tf.gather(tf.cast(values, tokens.row_splits.dtype), tokens.value_rowids())
