"""Decoding steps compiled by XLA, for few shapes, since each shape is compiled separately.

Rows, slots of a cache and tokens of a source are rounded up to powers of two. The added places are
cut off again or never read. Only the step is compiled, because the loop around it handles text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from tf_textgen.decoding.loop import Step
from tf_textgen.layers.kv_cache import writes_for_xla

# A smaller cache is hardly faster.
FEWEST_SLOTS = 16
OutputT = TypeVar("OutputT")


def compiled_step(step: Step) -> Step:
    """`step` compiled by XLA."""

    def for_xla(tokens: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        with writes_for_xla():
            return step(tokens, state)

    return tf.function(for_xla, autograph=False, jit_compile=True)


def decoding_graph(
    function: Callable[..., OutputT], input_signature: Sequence[Any], *, in_few_shapes: bool
) -> Callable[..., OutputT]:
    """`function` traced once for any number of rows.

    Args:
      function: takes and returns nests of `[B, ...]` tensors; no row depends on another.
      input_signature: specifications of its arguments.
      in_few_shapes: whether `function` sees only powers of two of rows, as a compiled step needs.
    """

    def rounded(*inputs: Any) -> OutputT:
        return with_rounded_rows(function, *inputs)

    graph = rounded if in_few_shapes else function
    return tf.function(graph, autograph=False, input_signature=input_signature)


def with_rounded_rows(function: Callable[..., OutputT], *inputs: Any) -> OutputT:
    """`function(*inputs)` computed for a power of two of rows: the last row is repeated.

    Args:
      function: takes and returns nests of `[B, ...]` tensors; no row depends on another.
      inputs: its arguments.
    """
    rows = tf.shape(tf.nest.flatten(inputs)[0])[0]
    places = tf.minimum(tf.range(power_of_two(rows)), rows - 1)
    filled = tf.nest.map_structure(lambda tensor: tf.gather(tensor, places), inputs)
    outputs = function(*filled)
    return tf.nest.map_structure(lambda tensor: tensor[:rows], outputs)


def power_of_two(size: tf.Tensor, least: int = 1) -> tf.Tensor:
    """The next power of two that is at least `size` and `least`, 0 for 0: scalar int32."""
    powers = tf.constant([0, *(1 << exponent for exponent in range(31))])
    rounded = tf.gather(powers, tf.searchsorted(powers, [size])[0])
    return tf.where(size > 0, tf.maximum(rounded, least), 0)


def widen(tokens: tf.Tensor, pad_id: int) -> tf.Tensor:
    """`[B, S]` padded to a power of two of columns."""
    columns = tf.shape(tokens)[1]
    padding = [[0, 0], [0, power_of_two(columns) - columns]]
    return tf.pad(tokens, padding, constant_values=pad_id)
