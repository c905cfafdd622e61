"""Dropout whose masks differ between the replicas of a strategy."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, of which every replica draws its own masks; those of the first are
    the ones of Keras.

    Keras gives all replicas of a `MirroredStrategy` one seed, hence one mask: rows at the same
    place of the parts of a batch would lose the same units, and the gradient would be noisier than
    that of the batch on one device. The masks follow from the seed, the number of draws before, and
    the replica, so that a run can be repeated and taken up again.

    Reference: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting".
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        seed = self.seed_generator.next() + tf.stack([_replica_offset(), tf.constant(0, tf.int64)])
        # Folded to int32 as Keras does, for the draws of TensorFlow under XLA.
        return tf.nn.experimental.stateless_dropout(
            inputs, self.rate, tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
        )


def _replica_offset() -> tf.Tensor:
    """A number of the replica, 0 for the first; far from each other, so that neighbouring seeds do
    not meet.
    """
    context: Any = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.constant(0, tf.int64)
    return tf.cast(context.replica_id_in_sync_group, tf.int64) * tf.constant(0x9E3779B9, tf.int64)
