"""A batch in parts, one after the other, whose sums are those of the whole: memory for one part is
enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def sum_over_micro_batches(
    step: Callable[[Any, Any], tuple[Any, Any]], batch: Any, carry: Any, zeros: Any, count: int
) -> tuple[Any, Any]:
    """Adds what `step` returns for each of `count` equal parts of a batch.

    Args:
      step: (part of the batch, part of the carry) -> (sums like `zeros`, what becomes of that part
        of the carry).
      batch: a nest of `[B, ...]`; B is a multiple of `count`.
      carry: a nest of `[B, ...]`, may be empty.
      zeros: what the sums begin with; gives their structure, shapes and types, so that `step` is
        traced once.
      count: parts, of neighbouring rows.

    Returns:
      The sums, and the carry `[B, ...]` of all rows.
    """
    if count == 1:
        return step(batch, carry)
    parts = tf.nest.map_structure(lambda x: _split(x, count), (batch, carry))
    leaves = tf.nest.flatten(carry)
    arrays = [
        tf.TensorArray(leaf.dtype, count, element_shape=_part_shape(leaf, count)) for leaf in leaves
    ]

    def body(
        i: tf.Tensor, sums: Any, arrays: list[tf.TensorArray]
    ) -> tuple[tf.Tensor, Any, list[tf.TensorArray]]:
        added, after = step(*tf.nest.map_structure(lambda x: x[i], parts))
        sums = tf.nest.map_structure(tf.add, sums, added)
        arrays = [
            array.write(i, leaf) for array, leaf in zip(arrays, tf.nest.flatten(after), strict=True)
        ]
        return i + 1, sums, arrays

    # One part at a time: TensorFlow would otherwise work on several at once, and hold the memory of
    # each.
    _, sums, arrays = tf.while_loop(
        lambda i, *_: i < count,
        body,
        (0, zeros, arrays),
        parallel_iterations=1,
        maximum_iterations=count,
    )
    rows = [
        tf.reshape(array.stack(), tf.shape(leaf))
        for array, leaf in zip(arrays, leaves, strict=True)
    ]
    return sums, tf.nest.pack_sequence_as(carry, rows)


def _split(x: tf.Tensor, count: int) -> tf.Tensor:
    """`[B, ...]` --> `[count, B / count, ...]`, with all of the shape that is known."""
    dynamic = tf.shape(x)
    split = tf.reshape(x, tf.concat([[count, dynamic[0] // count], dynamic[1:]], axis=0))
    return tf.ensure_shape(split, [count, *_part_shape(x, count)])


def _part_shape(x: tf.Tensor, count: int) -> list[int | None]:
    rows, *others = x.shape.as_list()
    return [None if rows is None else rows // count, *others]
