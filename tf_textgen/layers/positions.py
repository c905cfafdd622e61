"""Positions of tokens: learned vectors, sinusoids, rotations of queries and keys."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_textgen.layers.embedding import add_lookup_table


class LearnedPositions(keras.layers.Layer):
    """One vector for each position, as in GPT-2.

    Positions outside [0, max_positions) read the nearest vector: those below are left
    padding, those above must be ruled out by the caller, who knows the length (a failing gather
    would fail the rows next to it too).

    Args:
      max_positions: number of positions.
      width: D.
      stddev: standard deviation of the initial vectors.
      seed: of the initial vectors.
    """

    def __init__(
        self,
        max_positions: int,
        width: int,
        *,
        stddev: float = 0.02,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_positions = max_positions
        self.width = width
        self.initializer = keras.initializers.RandomNormal(stddev=stddev, seed=seed)

    def build(self, input_shape: Any = None) -> None:
        shape = (self.max_positions, self.width)
        self.table = add_lookup_table(self, shape, self.initializer)

    def compute_output_shape(self, input_shape: Any, *args: Any) -> tuple[int | None, ...]:
        return (*input_shape, self.width)

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        """`[...]` int32 --> `[..., D]`."""
        return tf.gather(
            tf.convert_to_tensor(self.table), tf.clip_by_value(positions, 0, self.max_positions - 1)
        )


def sinusoids(positions: tf.Tensor, width: int, base: float = 10000.0) -> tf.Tensor:
    """Sines in the even and cosines in the odd columns, of wavelengths from 2 pi to 2 pi `base`.

    Args:
      positions: `[...]` int32.
      width: D, even or odd.
      base: ratio of the longest to the shortest wavelength.

    Returns:
      `[..., D]` float32.

    Reference:
      Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
    """
    columns = np.arange(width)
    frequencies = (base ** (-(columns // 2 * 2) / width)).astype(np.float32)
    angles = tf.cast(positions, tf.float32)[..., tf.newaxis] * frequencies
    return tf.where(columns % 2 == 0, tf.sin(angles), tf.cos(angles))


class Rotation(NamedTuple):
    """The angles of rotary positions, float32, one for each pair of columns of a head."""

    cosine: tf.Tensor  # [B, 1, T, H / 2]
    sine: tf.Tensor  # [B, 1, T, H / 2]


def rotation(positions: tf.Tensor, head_width: int, base: float = 10000.0) -> Rotation:
    """The rotation of heads of this even width at `positions` `[B, T]`."""
    frequencies = (base ** (-np.arange(0, head_width, 2) / head_width)).astype(np.float32)
    angles = tf.cast(positions, tf.float32)[:, tf.newaxis, :, tf.newaxis] * frequencies
    return Rotation(tf.cos(angles), tf.sin(angles))


def rotate(heads: tf.Tensor, angles: Rotation) -> tf.Tensor:
    """Turns column i of the first half with column i of the second by one angle, in float32.

    The product of a rotated query with a rotated key depends only on the distance of their
    positions.

    Args:
      heads: `[B, N, T, H]`.
      angles: of `rotation`.

    Returns:
      `[B, N, T, H]` in the dtype of `heads`.

    Reference:
      Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, section 3.2;
      halves instead of neighbours as in GPT-NeoX, the same up to a permutation of columns.
    """
    first, second = tf.split(tf.cast(heads, tf.float32), 2, axis=-1)
    turned = [
        first * angles.cosine - second * angles.sine,
        second * angles.cosine + first * angles.sine,
    ]
    return tf.cast(tf.concat(turned, axis=-1), heads.dtype)
