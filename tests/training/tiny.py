"""The smallest model with the contract's training side, and its data: enough for callbacks and
runs.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from tf_textgen.config import field, required
from tf_textgen.models.base import TextModel
from tf_textgen.models.model_config import ModelConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.optimizers.optimizers import make_optimizer

BATCH, TIME, VOCABULARY = 4, 6, 11


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyConfig(ModelConfig):
    prefix: ClassVar[str] = "tiny"
    vocabulary_size: int = field(required, "Ids.", flag=False)
    pad_id: int = field(0, "Padding.", flag=False)
    width: int = field(8, "Width.")
    dropout: float = field(0.3, "Dropout.")


class TinyModel(TextModel):
    config_class = TinyConfig

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.embedding = keras.layers.Embedding(
            config.vocabulary_size, config.width, name="embedding"
        )
        self.noise = keras.layers.Dropout(config.dropout, seed=self.seed, name="noise")
        self.head = keras.layers.Dense(config.vocabulary_size, name="head")

    def call(self, features, training=False):
        return self.head(self.noise(self.embedding(features["target_tokens"]), training=training))

    def example_features(self):
        return {"target_tokens": tf.zeros([1, 1], tf.int32)}


def make_tiny(
    learning_rate=0.05, total_steps=0, seed=1, schedule="linear", jit_compile=False, **config
):
    keras.utils.set_random_seed(seed)
    model = TinyModel(
        TinyConfig(vocabulary_size=VOCABULARY, **config), seed=seed, name="tiny"
    ).initialize()
    options = {"learning_rate": learning_rate, "schedule": schedule, "warmup_steps": 2}
    optimizer = make_optimizer(OptimizerConfig(**options), model.trainable_variables, total_steps)
    model.compile(optimizer, clip_norm=1.0, jit_compile=jit_compile)
    return model


def batch(step):
    """`(features, labels, weights)` of one step; rows of different weight, so a mean of means would
    be wrong.
    """
    tokens = np.random.default_rng(step).integers(0, VOCABULARY, [BATCH, TIME + 1]).astype("int32")
    weights = (np.arange(TIME)[None, :] < 1 + (step + np.arange(BATCH)[:, None]) % TIME).astype(
        "float32"
    )
    return {"target_tokens": tokens[:, :-1]}, (3 * tokens[:, :-1] + 1) % VOCABULARY, weights


def batches(start_step=0, count=None):
    def generate():
        step = start_step
        while count is None or step < start_step + count:
            yield batch(step)
            step += 1

    spec = tf.TensorSpec([BATCH, TIME], tf.int32)
    signature = ({"target_tokens": spec}, spec, tf.TensorSpec([BATCH, TIME], tf.float32))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return (
        dataset if count is None else dataset.apply(tf.data.experimental.assert_cardinality(count))
    )


def token_loss(weights, steps):
    """Mean nats of all weighted labels of `steps` by NumPy, without dropout; and their number."""
    table, kernel, bias = (
        weights[f"tiny/{name}"] for name in ("embedding/embeddings", "head/kernel", "head/bias")
    )
    total, count = 0.0, 0.0
    for step in steps:
        features, labels, weights = batch(step)
        logits = table[features["target_tokens"]].astype("float64") @ kernel + bias
        logits -= logits.max(-1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= (
            np.take_along_axis(log_probabilities, labels[..., None], -1)[..., 0] * weights
        ).sum()
        count += weights.sum()
    return total / count, count
