"""The keys and values of past tokens, written one slot at a time.

All rows of a batch write the same slot, since prompts are left-padded: the cache is updated in
place, without a copy, which a write at a slot of each row's own would need.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.layers.projection import dimensions

_FOR_XLA = contextvars.ContextVar("for_xla", default=False)


class KeyValues(NamedTuple):
    """Keys and values of K heads at C slots; slots not yet written are 0 and hidden by the mask."""

    keys: tf.Tensor  # [B, K, C, H]
    values: tf.Tensor  # [B, K, C, value width]


@contextlib.contextmanager
def writes_for_xla() -> Iterator[None]:
    """Traces writes that XLA can compile at a slot not known before.

    Outside XLA the default, `TensorStridedSliceUpdate`, takes half the time of a scatter; inside it
    would need a constant slot. There is no public way to know whether a function is being traced
    for XLA, so the one who compiles says it.
    """
    token = _FOR_XLA.set(True)
    try:
        yield
    finally:
        _FOR_XLA.reset(token)


def reserve(past: KeyValues, capacity: tf.Tensor | int) -> KeyValues:
    """Adds empty slots after the last one, up to `capacity` in all (an int under XLA)."""
    return KeyValues(*(_reserve(tensor, capacity) for tensor in past))


def write(past: KeyValues, new: KeyValues, slot: tf.Tensor) -> KeyValues:
    """Replaces one slot of all rows: `new` has `C = 1`, `slot` is an int32 scalar."""
    one = _scatter if _FOR_XLA.get() else _strided_update
    return KeyValues(*(one(tensor, update, slot) for tensor, update in zip(past, new, strict=True)))


def _reserve(tensor: tf.Tensor, capacity: tf.Tensor | int) -> tf.Tensor:
    padded = tf.pad(tensor, [[0, 0], [0, 0], [0, capacity - dimensions(tensor)[2]], [0, 0]])
    slots = tf.get_static_value(capacity)
    batch, heads, _, width = tensor.shape
    return tf.ensure_shape(padded, [batch, heads, None if slots is None else int(slots), width])


def _strided_update(tensor: tf.Tensor, update: tf.Tensor, slot: tf.Tensor) -> tf.Tensor:
    """`tensor[:, :, slot:slot + 1] = update`, in the buffer of `tensor` if nobody else holds it."""
    axes_0_and_1 = 0b011
    written = tf.raw_ops.TensorStridedSliceUpdate(
        input=tensor,
        begin=tf.stack([0, 0, slot]),
        end=tf.stack([0, 0, slot + 1]),
        strides=[1, 1, 1],
        value=update,
        begin_mask=axes_0_and_1,
        end_mask=axes_0_and_1,
    )
    return tf.ensure_shape(written, tensor.shape)


def _scatter(tensor: tf.Tensor, update: tf.Tensor, slot: tf.Tensor) -> tf.Tensor:
    batch, heads, slots, width = dimensions(tensor)
    rows = batch * heads
    indices = tf.stack([tf.range(rows), tf.fill([rows], slot)], axis=1)
    flat = tf.reshape(tensor, [rows, slots, width])
    written = tf.tensor_scatter_nd_update(flat, indices, tf.reshape(update, [rows, width]))
    return tf.reshape(written, [batch, heads, slots, width])
