"""What the decoding loop carries from step to step."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Progress(NamedTuple):
    """The continuations so far; `N` is the batch's largest number of new tokens."""

    step: tf.Tensor  # [] int32, tokens generated so far
    tokens: tf.Tensor  # [B, N] int32, pad beyond a row's end
    log_probabilities: tf.Tensor  # [B, N] float32, 0 beyond a row's end
    token_count: tf.Tensor  # [B] int32
    finish: tf.Tensor  # [B] int32, index into stopping.REASONS
    seen: tf.Tensor  # [B, V] bool, tokens of the prompt and the continuation, for the repetition penalty
    text: tf.Tensor  # [B] string, kept where stop strings are looked for


def initial_progress(rows: tf.Tensor, steps: tf.Tensor, *, pad_id: int, seen: tf.Tensor) -> Progress:
    """No tokens yet; room for `steps` in each of `rows` rows."""
    return Progress(
        step=tf.constant(0),
        tokens=tf.fill([rows, steps], pad_id),
        log_probabilities=tf.zeros([rows, steps]),
        token_count=tf.zeros([rows], tf.int32),
        finish=tf.zeros([rows], tf.int32),
        seen=seen,
        text=tf.fill([rows], ""),
    )


def write_column(matrix: tf.Tensor, column: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`matrix[:, column] = values`, in place where TensorFlow can. `[B, N]`, scalar, `[B]` -> `[B, N]`."""
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=matrix,
        begin=tf.stack([0, column]),
        end=tf.stack([0, column + 1]),
        strides=[1, 1],
        value=values,
        begin_mask=1,
        end_mask=1,
        shrink_axis_mask=2,
    )


def tokens_seen(tokens: tf.Tensor, lengths: tf.Tensor, vocabulary_size: int) -> tf.Tensor:
    """Which ids stand in left-padded prompts.

    Args:
      tokens: `[B, P]` int32.
      lengths: `[B]` int32, tokens at the end of a row that count.
      vocabulary_size: `V`; other ids are ignored.

    Returns:
      `[B, V]` bool.
    """
    rows, width = tf.unstack(tf.shape(tokens))
    counts = tf.range(width) >= width - lengths[:, tf.newaxis]  # --> [B, P]
    counts &= (tokens >= 0) & (tokens < vocabulary_size)
    row = tf.broadcast_to(tf.range(rows)[:, tf.newaxis], [rows, width])
    where = tf.stack([row, tf.where(counts, tokens, 0)], axis=-1)  # --> [B, P, 2]
    return tf.scatter_nd(where, tf.cast(counts, tf.int32), tf.stack([rows, vocabulary_size])) > 0


def add_seen(seen: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Marks one token of each row as seen. `[B, V]` bool, `[B]` int32 -> `[B, V]` bool."""
    where = tf.stack([tf.range(tf.shape(tokens)[0]), tokens], axis=-1)
    return tf.tensor_scatter_nd_update(seen, where, tf.ones_like(tokens, tf.bool))
