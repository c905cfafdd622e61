"""The table of token vectors, read forwards for inputs and backwards for logits."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers.projection import dimensions


def add_lookup_table(
    layer: keras.layers.Layer, shape: tuple[int, int], initializer: Any
) -> keras.Variable:
    """Adds the weight `table`, of which rows are looked up; weight decay leaves it as it is.

    Decay would pull the rows of rare ids to zero, which no gradient opposes.
    """
    table = layer.add_weight(shape, initializer, name="table")
    table.is_lookup_table = True
    return table


def is_lookup_table(variable: keras.Variable) -> bool:
    """Whether `add_lookup_table` made the variable."""
    return getattr(variable, "is_lookup_table", False)


class TokenEmbedding(keras.layers.Layer):
    """Rows of a table, or the products of vectors with all rows.

    Args:
      vocabulary_size: V.
      width: D.
      stddev: standard deviation of the initial table; 0.02 as in GPT-2.
      seed: of the initial table.

    Reference:
      Press and Wolf, "Using the Output Embedding to Improve Language Models", 2017.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        *,
        stddev: float = 0.02,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.initializer = keras.initializers.RandomNormal(stddev=stddev, seed=seed)

    def build(self, input_shape: Any = None) -> None:
        shape = (self.vocabulary_size, self.width)
        self.table = add_lookup_table(self, shape, self.initializer)

    def compute_output_shape(self, input_shape: Any, *args: Any) -> tuple[int | None, ...]:
        return (*input_shape, self.width)

    def call(self, inputs: tf.Tensor, reverse: bool = False) -> tf.Tensor:
        """`[...]` int32 --> `[..., D]`; with `reverse` `[..., D]` --> `[..., V]` float32 logits."""
        if not reverse:
            return tf.gather(tf.convert_to_tensor(self.table), inputs)
        *leading, _ = dimensions(inputs)
        logits = tf.matmul(tf.reshape(inputs, [-1, self.width]), self.table, transpose_b=True)
        return tf.cast(tf.reshape(logits, [*leading, self.vocabulary_size]), tf.float32)
