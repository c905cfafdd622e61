"""An n-gram language model whose counts are weights, so that it decodes, is judged and is served
like the others.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.ngram_tables import BackOff, Unigrams
from tf_textgen.models.base import Features, State, TextModel
from tf_textgen.models.kneser_ney import Estimate
from tf_textgen.models.ngram_config import NGramConfig

# The probability of an impossible label instead of 0, whose logarithm times a weight of 0 is NaN.
_LEAST = float(np.finfo(np.float32).tiny)


@keras.saving.register_keras_serializable(package="tf_textgen")
class NGramLM(TextModel):
    """The next token from at most `order - 1` tokens before it, by interpolated modified
    Kneser-Ney.

    Its logits are log-probabilities: each row's exponentials sum to 1. The weights are tables that
    `assign` fills and no optimizer touches.

    A history ends at what is unknown: the left padding of a prompt, another segment of a packed
    row, the beginning of a window. From there on the lower order speaks, as it does if a context
    was never seen; so nothing before an `<s>` has a part, since no document was counted with tokens
    before its own. Lower orders are made to be interpolated
    with, so the first tokens of a window are judged the worse: overlapping
    windows (`evaluate --stride`) give each token its whole history. Ids that were never labels,
    such as padding and `<s>`, have the probability 1e-38.

    `call` takes `target_tokens` `[B, T]` and, where several documents share a row, `segment_ids`
    `[B, T]`. The state's `per_step` holds `history` `[B, order - 1]` int32, the last tokens, oldest
    first, V if they are unknown.

    Reference:
      Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1999,
      section 3.
    """

    config_class = NGramConfig
    has_hidden = False
    config: NGramConfig

    def __init__(self, config: NGramConfig, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(config, seed=seed, **kwargs)
        self.unigrams = Unigrams(config.vocabulary_size, name="unigrams")
        self.orders = [
            BackOff(config.vocabulary_size, contexts, continuations, name=f"order_{order}")
            for order, (contexts, continuations) in enumerate(config.sizes, start=2)
        ]

    def build(self, input_shape: Any = None) -> None:
        self.unigrams.build()
        for layer in self.orders:
            layer.build()

    def example_features(self) -> dict[str, tf.Tensor]:
        return {"target_tokens": tf.zeros([1, 1], tf.int32)}

    def assign(self, estimate: Estimate) -> None:
        """Sets the tables; their sizes are those of the configuration."""
        self.unigrams.probabilities.assign(estimate.unigrams)
        for layer, level in zip(self.orders, estimate.levels, strict=True):
            for name, values in level._asdict().items():
                getattr(layer, name).assign(values)

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        tokens = features["target_tokens"]
        segments = features.get("segment_ids")
        before = []
        for back in range(self.config.order - 1):
            shifted = _shift(tokens, back, self.config.vocabulary_size)
            if segments is not None:
                shifted = tf.where(
                    _shift(segments, back, -1) == segments, shifted, self.config.vocabulary_size
                )
            before.append(tf.reshape(shifted, [-1]))
        rows, length = tf.unstack(tf.shape(tokens))
        logits = self._log_probabilities(tf.reshape(tokens, [-1]), before)
        return tf.reshape(logits, [rows, length, self.config.vocabulary_size])

    def start(self, features: Features, capacity: tf.Tensor | int) -> tuple[tf.Tensor, State]:
        tokens = features["target_tokens"]
        wanted = self.config.order - 1
        length = tf.shape(tokens)[1]
        known = tf.range(length) >= length - features["target_lengths"][:, tf.newaxis]
        history = tf.where(known, tokens, self.config.vocabulary_size)
        history = tf.pad(
            history, [[0, 0], [wanted, 0]], constant_values=self.config.vocabulary_size
        )[:, length:]
        return self._next(tf.ensure_shape(history, [None, wanted]))

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        history = tf.concat([state.per_step["history"], tokens[:, tf.newaxis]], axis=1)[:, 1:]
        return self._next(history)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """There is no gradient of counts.

        Raises:
          UserError: always.
        """
        raise UserError(
            "fit with an n-gram model: expected `assign`, since it is counted; use the job train"
        )

    def _next(self, history: tf.Tensor) -> tuple[tf.Tensor, State]:
        before = tf.unstack(history[:, ::-1], num=self.config.order - 1, axis=1)
        return self._log_probabilities(history, before), State({"history": history}, {})

    def _log_probabilities(self, rows: tf.Tensor, before: list[tf.Tensor]) -> tf.Tensor:
        """Of the next tokens `[R, V]` float32, given those before, `[R]` int32 each, the nearest
        first.
        """
        distribution = self.unigrams(rows)
        contexts = tf.zeros(tf.shape(rows)[:1], tf.int64)
        for layer, tokens in zip(self.orders, before, strict=True):
            distribution, contexts = layer(distribution, contexts, tokens)
        return tf.math.log(tf.maximum(distribution, _LEAST))


def _shift(values: tf.Tensor, places: int, fill: int) -> tf.Tensor:
    """`[B, T]` moved to the right, `fill` on the left."""
    width = tf.shape(values)[1]
    return tf.pad(values, [[0, 0], [places, 0]], constant_values=fill)[:, :width]
