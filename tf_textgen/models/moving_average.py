"""The exponential moving average of the weights that a training passes through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

UPDATES = (
    "updates"  # the name that a checkpoint gives to their number, next to the paths of weights
)


class MovingAverage:
    """Averages of weights over the last `1 / (1 - decay)` updates or so, which commonly judge
    better than the last.

    After update n: `average += (1 - d) * (weight - average)` with `d = min(decay, (1 + n) / (10 +
    n))`. A constant d would keep the random initial weights in the average for thousands of
    updates; this one forgets them in ten. Keras' own `use_ema` of an optimizer has no such warm-up,
    and overwrites the weights for good, while a training continues with them after each validation.

    Every replica moves averages of its own, from weights that are the same on all: an update needs
      no communication,
    and XLA compiles it. They are no weights: a checkpoint keeps them next to the model; a `.keras`
    file does not, and averaging begins again there.

    Args:
      weights: built variables of a model.
      decay: in (0, 1).

    Reference: `tf.train.ExponentialMovingAverage` with `num_updates`; Polyak and Juditsky 1992,
    "Acceleration of Stochastic Approximation by Averaging".
    """

    def __init__(self, weights: Sequence[keras.Variable], decay: float) -> None:
        self.decay = decay
        self._weights = list(weights)
        self._averages = [_variable_of_each_replica(weight.value) for weight in self._weights]
        self._updates = _variable_of_each_replica(tf.constant(0, tf.int64))

    def update(self) -> None:
        """Follows the weights, once they were updated; for one replica."""
        self._updates.assign_add(1)
        n = tf.cast(self._updates, tf.float32)
        share = tf.where(n > 1.0, tf.maximum(1.0 - self.decay, 9.0 / (10.0 + n)), 1.0)  # 1 - d
        for weight, average in zip(self._weights, self._averages, strict=True):
            average.assign_add(
                tf.cast(share, average.dtype) * (tf.convert_to_tensor(weight.value) - average)
            )

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the weights are their averages, once there are any; after it they are what they
        were, bit by bit.
        """
        if int(tf.convert_to_tensor(self._updates)) == 0:
            yield
            return
        kept = [tf.convert_to_tensor(weight.value) for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.assign(tf.convert_to_tensor(average))
            yield
        finally:
            for weight, value in zip(self._weights, kept, strict=True):
                weight.assign(value)

    def by_path(self) -> dict[str, tf.Variable]:
        """The averages by the paths of their weights, and the number of updates, as a checkpoint
        names them.
        """
        averages = {
            weight.path: average
            for weight, average in zip(self._weights, self._averages, strict=True)
        }
        return {**averages, UPDATES: self._updates}


def _variable_of_each_replica(value: tf.Tensor | tf.Variable) -> tf.Variable:
    """A variable that replicas change without communication, all in the same way."""
    return tf.Variable(
        tf.convert_to_tensor(value),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
