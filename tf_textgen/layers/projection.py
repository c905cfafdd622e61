"""A matrix product over the last axis, and the seeds of layers."""

from __future__ import annotations

import math
import zlib
from typing import Any

import keras
import tensorflow as tf


def fold_seed(seed: int | None, name: str | int) -> int | None:
    """A seed for one part of a layer, other for each name; None stays None (Keras then
    draws one).
    """
    return None if seed is None else zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def dimensions(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape, static if it is known: reshapes keep what a `tf.while_loop` has to know of its
    variables.
    """
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(tensor.shape)]


class Projection(keras.layers.Layer):
    """`inputs @ kernel + bias` over the last axis.

    All leading axes are flattened first, so that TensorFlow sees one plain matrix product and one
    bias, which oneDNN fuses, instead of a batched product whose gradient sums `[B, D, E]`.

    Args:
      input_width, output_width: D and E.
      use_bias: add a bias, 0 at first.
      stddev: standard deviation of the initial kernel; None is `sqrt(2 / (D + E))` (Glorot and
        Bengio, 2010).
      seed: of the initial kernel.
    """

    def __init__(
        self,
        input_width: int,
        output_width: int,
        *,
        use_bias: bool = True,
        stddev: float | None = 0.02,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_width = input_width
        self.output_width = output_width
        self.use_bias = use_bias
        if stddev is None:
            stddev = math.sqrt(2.0 / (input_width + output_width))
        self.initializer = keras.initializers.RandomNormal(stddev=stddev, seed=seed)
        self.bias = None

    def build(self, input_shape: Any = None) -> None:
        self.kernel = self.add_weight(
            (self.input_width, self.output_width), self.initializer, name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight((self.output_width,), "zeros", name="bias")

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.output_width)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[..., D]` --> `[..., E]`."""
        *leading, _ = dimensions(inputs)
        flat = tf.matmul(tf.reshape(inputs, [-1, self.input_width]), self.kernel)
        if self.bias is not None:
            flat = tf.nn.bias_add(flat, tf.convert_to_tensor(self.bias))
        return tf.reshape(flat, [*leading, self.output_width])
