"""The tables of an interpolated n-gram model: a distribution for nothing, and one order more for
each layer.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

_NO_KEY = np.iinfo(np.int64).max


class Unigrams(keras.layers.Layer):
    """The distribution of a token without any before it.

    Args:
      vocabulary_size: V. Until values are assigned the distribution is uniform.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, input_shape: Any = None) -> None:
        uniform = keras.initializers.Constant(1.0 / self.vocabulary_size)
        self.probabilities = _table(self, "probabilities", self.vocabulary_size, uniform)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """`[R, ...]` of anything --> `[R, V]` float32, the same in all rows."""
        return tf.tile(
            tf.convert_to_tensor(self.probabilities)[tf.newaxis], [tf.shape(tokens)[0], 1]
        )


class BackOff(keras.layers.Layer):
    """One order of an interpolated n-gram model: contexts found by binary search, each with its
    continuations.

    A context is its parent (the context of one token less) and one token more before it; the last
    row of the tables
    represents all contexts that were never seen: it leaves the distribution as it is, and is
    nobody's parent. Until values are assigned every context is one of these.

    Args:
      vocabulary_size: V; as a token it means "unknown", which no context has.
      num_contexts: C, seen contexts.
      num_continuations: E, seen n-grams.
    """

    def __init__(
        self, vocabulary_size: int, num_contexts: int, num_continuations: int, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.vocabulary_size = vocabulary_size
        self.num_contexts = num_contexts
        self.num_continuations = num_continuations
        self.supports_jit = False  # XLA compares every key with every value if a kernel searches

    def build(self, input_shape: Any = None) -> None:
        contexts = self.num_contexts
        continuations = self.num_continuations
        self.keys = _table(self, "keys", contexts + 1, _no_keys, "int64")
        self.offsets = _table(self, "offsets", contexts + 2, "zeros", "int64")
        self.back_offs = _table(self, "back_offs", contexts + 1, "ones")
        self.tokens = _table(self, "tokens", continuations, "zeros", "int32")
        self.probabilities = _table(self, "probabilities", continuations, "zeros")

    def call(
        self, distribution: tf.Tensor, parents: tf.Tensor, tokens: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Interpolates with the order below.

        Args:
          distribution: `[R, V]` float32, of the order below.
          parents: `[R]` int64, contexts of the order below.
          tokens: `[R]` int32 in [0, V], the token before each parent.

        Returns:
          The distribution `[R, V]` float32, and the contexts `[R]` int64.
        """
        keys = parents * (self.vocabulary_size + 1) + tf.cast(tokens, tf.int64)
        table = tf.convert_to_tensor(self.keys)
        contexts = tf.searchsorted(table, keys, out_type=tf.int64)
        contexts = tf.where(tf.equal(tf.gather(table, contexts), keys), contexts, self.num_contexts)
        offsets = tf.convert_to_tensor(self.offsets)
        entries = tf.ragged.range(tf.gather(offsets, contexts), tf.gather(offsets, contexts + 1))
        rows = entries.value_rowids()
        entries = entries.values
        where = tf.stack(
            [rows, tf.cast(tf.gather(tf.convert_to_tensor(self.tokens), entries), tf.int64)], axis=1
        )
        distribution *= tf.gather(tf.convert_to_tensor(self.back_offs), contexts)[:, tf.newaxis]
        seen = tf.gather(tf.convert_to_tensor(self.probabilities), entries)
        return tf.tensor_scatter_nd_add(distribution, where, seen), contexts


def _table(
    layer: keras.layers.Layer, name: str, size: int, initializer: Any, dtype: str = "float32"
) -> keras.Variable:
    return layer.add_weight((size,), initializer, dtype, name=name, trainable=False, autocast=False)


def _no_keys(shape: Any, dtype: Any) -> tf.Tensor:
    return tf.fill(shape, tf.constant(_NO_KEY, dtype))
