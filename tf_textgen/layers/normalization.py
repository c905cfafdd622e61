"""Normalization over the last axis, computed in float32 whatever the precision of the layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError


class LayerNorm(keras.layers.Layer):
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset`.

    Args:
      width: D.
      epsilon: 1e-5 as in GPT-2.
      use_bias: whether there is an offset.

    Reference:
      Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(
        self, width: int, *, epsilon: float = 1e-5, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.epsilon = epsilon
        self.use_bias = use_bias
        self.offset = None

    def build(self, input_shape: Any = None) -> None:
        self.scale = self.add_weight((self.width,), "ones", name="scale", autocast=False)
        if self.use_bias:
            self.offset = self.add_weight((self.width,), "zeros", name="offset", autocast=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[..., D]` --> `[..., D]` in the layer's compute dtype."""
        x = tf.cast(inputs, tf.float32)
        x -= tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)
        x = x * tf.math.rsqrt(variance + self.epsilon) * tf.cast(self.scale, tf.float32)
        if self.offset is not None:
            x += tf.cast(self.offset, tf.float32)
        return tf.cast(x, self.compute_dtype)


class RMSNorm(keras.layers.Layer):
    """`x / sqrt(mean(x^2) + epsilon) * scale`: no mean is taken away, nothing added.

    Args:
      width: D.
      epsilon: added under the root.

    Reference:
      Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
    """

    def __init__(self, width: int, *, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.epsilon = epsilon

    def build(self, input_shape: Any = None) -> None:
        self.scale = self.add_weight((self.width,), "ones", name="scale", autocast=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[..., D]` --> `[..., D]` in the layer's compute dtype."""
        x = tf.cast(inputs, tf.float32)
        x *= tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + self.epsilon)
        return tf.cast(x * tf.cast(self.scale, tf.float32), self.compute_dtype)


def normalization(
    kind: str, width: int, *, epsilon: float = 1e-5, use_bias: bool = True, **kwargs: Any
) -> keras.layers.Layer:
    """A layer of this kind: `layer_norm` or `rms_norm`."""
    if kind == "layer_norm":
        return LayerNorm(width, epsilon=epsilon, use_bias=use_bias, **kwargs)
    if kind == "rms_norm":
        return RMSNorm(width, epsilon=epsilon, **kwargs)
    raise UserError(f"normalization {kind!r}: expected layer_norm or rms_norm")
