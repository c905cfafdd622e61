"""Keras metrics that sum over tokens and divide once, so that a batch of 90 tokens counts nine
times one of 10.

Totals are float64: a float32 count stops growing at 2^24 times the tokens of a step.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class _Totals(keras.metrics.Metric):
    """A running total and the running count it is divided by."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, dtype="float64")
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((), "zeros", dtype="float64", name="count")

    def update_state(self, total: tf.Tensor, count: tf.Tensor) -> None:
        self.total.assign_add(tf.cast(total, tf.float64))
        self.count.assign_add(tf.cast(count, tf.float64))

    def _ratio(self) -> tf.Tensor:
        return tf.math.divide_no_nan(
            tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count)
        )


@keras.saving.register_keras_serializable(package="tf_textgen")
class TokenMean(_Totals):
    """The sum of totals over the sum of counts; 0 before the first token.

    >>> mean = TokenMean("loss")
    >>> mean.update_state(10 * 0.001, 10)
    >>> mean.update_state(90 * 1.386, 90)
    >>> round(float(mean.result()), 4)
    1.2475
    """

    def result(self) -> tf.Tensor:
        return self._ratio()


@keras.saving.register_keras_serializable(package="tf_textgen")
class Perplexity(_Totals):
    """e to the mean nats of a token; 1 before the first token."""

    def result(self) -> tf.Tensor:
        return tf.exp(self._ratio())


@keras.saving.register_keras_serializable(package="tf_textgen")
class TokenCount(_Totals):
    """The number of tokens counted."""

    def result(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.count)
