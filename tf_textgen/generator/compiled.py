"""Decoding steps compiled by XLA, which compiles again for each shape: so there are few.

Rows, slots of a cache and tokens of a source come in powers of two; what is added is cut off, or
never looked at. Only the step is compiled, since the loop around it handles text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from tf_textgen.decoding.loop import Step
from tf_textgen.layers.kv_cache import writes_for_xla

FEWEST_SLOTS = 16  # a smaller cache is hardly faster
OutputT = TypeVar("OutputT")


def compiled_step(step: Step) -> Step:
    """`step` as XLA compiles it."""

    def for_xla(tokens: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        with writes_for_xla():
            return step(tokens, state)

    return tf.function(for_xla, autograph=False, jit_compile=True)


def in_few_shapes(answer: Callable[..., OutputT], *inputs: Any) -> OutputT:
    """`answer(*inputs)` for a power of two of rows: the last row, repeated, fills them up.

    Args:
      answer: takes and returns nests of `[B, ...]` tensors, and answers each row as alone.
      inputs: its arguments.
    """
    rows = tf.shape(tf.nest.flatten(inputs)[0])[0]
    places = tf.minimum(tf.range(power_of_two(rows)), rows - 1)
    filled = tf.nest.map_structure(lambda one: tf.gather(one, places), inputs)
    return tf.nest.map_structure(lambda one: one[:rows], answer(*filled))


def power_of_two(size: tf.Tensor, least: int = 1) -> tf.Tensor:
    """The next power of two that is not below `size` and `least`, 0 for 0: scalar int32."""
    powers = tf.constant([0, *(1 << exponent for exponent in range(31))])
    up = tf.gather(powers, tf.searchsorted(powers, [size])[0])
    return tf.where(size > 0, tf.maximum(up, least), 0)


def widen(tokens: tf.Tensor, pad_id: int) -> tf.Tensor:
    """`[B, S]` with a power of two of columns."""
    columns = tf.shape(tokens)[1]
    return tf.pad(tokens, [[0, 0], [0, power_of_two(columns) - columns]], constant_values=pad_id)
