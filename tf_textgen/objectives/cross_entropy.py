"""The labels under a model's logits: nats, log-probabilities and hits of each token, in
float32.
"""

from __future__ import annotations

import tensorflow as tf


def token_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
    """The negative log-probability of each label under the softmax of its logits.

    With smoothing the target is `1 - e` on the label plus `e` spread evenly over the whole
    vocabulary, the label included; written as `(1 - e) * nats + e * (logsumexp(logits) -
    mean(logits))`, no target of size V is made.

    Args:
      logits: `[..., V]` of any float type; computed in float32.
      labels: `[...]` int32 below V.
      label_smoothing: `e` in [0, 1).

    Returns:
      `[...]` float32 nats.

    Reference:
      Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section 7.
    """
    logits = tf.cast(logits, tf.float32)
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if not label_smoothing:
        return nats
    label_logits = tf.gather(logits, labels, axis=-1, batch_dims=labels.shape.rank)
    uniform = nats + label_logits - tf.reduce_mean(logits, axis=-1)
    return (1.0 - label_smoothing) * nats + label_smoothing * uniform


def token_log_probabilities(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The log-probability a model gives each label: `[..., V]` logits and `[...]` labels -->
    `[...]` float32 nats.
    """
    return -token_cross_entropy(logits, labels)


def token_hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1.0 if the most probable id is the label, else 0.0: `[..., V]`, `[...]` --> `[...]`
    float32.
    """
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(best, tf.cast(labels, tf.int32)), tf.float32)
