"""The two-layer network applied to each position on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.projection import Projection, fold_seed


def _swiglu(hidden: tf.Tensor) -> tf.Tensor:
    """`[..., 2 F]` --> `[..., F]`: the first half, through SiLU, is the gate of the second."""
    gate, value = tf.split(hidden, 2, axis=-1)
    return tf.nn.silu(gate) * value


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "swiglu": _swiglu,
}


class FeedForward(keras.layers.Layer):
    """`activation(x W1 + b1) W2 + b2`.

    Args:
      width: D.
      inner_width: F.
      activation: `relu` (Vaswani et al., 2017), `gelu` (exact), `gelu_tanh` (GPT-2's approximation)
        or `swiglu`, whose gate and value are adjacent in one matrix `[D, 2 F]`.
      use_bias: add biases.
      stddev, output_stddev: standard deviations of the initial matrices; None as in `Projection`.
      seed: of the initial matrices.

    Reference:
      Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; Shazeer, "GLU Variants Improve
      Transformer", 2020.
    """

    def __init__(
        self,
        width: int,
        inner_width: int,
        *,
        activation: str = "gelu_tanh",
        use_bias: bool = True,
        stddev: float | None = 0.02,
        output_stddev: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise UserError(f"activation {activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[activation]
        first_width = 2 * inner_width if activation == "swiglu" else inner_width
        shared = {"use_bias": use_bias, "dtype": self.dtype_policy}
        self.input_projection = Projection(
            width,
            first_width,
            stddev=stddev,
            seed=fold_seed(seed, "input"),
            name="input_projection",
            **shared,
        )
        self.output_projection = Projection(
            inner_width,
            width,
            stddev=output_stddev or stddev,
            seed=fold_seed(seed, "output"),
            name="output_projection",
            **shared,
        )

    def build(self, input_shape: Any = None) -> None:
        self.input_projection.build()
        self.output_projection.build()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[..., D]` --> `[..., D]`."""
        return self.output_projection(self.activation(self.input_projection(inputs)))
