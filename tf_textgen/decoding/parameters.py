"""Decoding parameters as vectors: every row of a batch may have its own."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import STOP_SEPARATOR, DecodingConfig


class Parameters(NamedTuple):
    """The fields of `DecodingConfig` for each row. TF Serving merges requests along the first dimension only."""

    temperature: tf.Tensor  # [B] float32, 0 = greedy
    top_k: tf.Tensor  # [B] int32, 0 = all
    top_p: tf.Tensor  # [B] float32
    min_p: tf.Tensor  # [B] float32
    repetition_penalty: tf.Tensor  # [B] float32
    min_new_tokens: tf.Tensor  # [B] int32
    max_new_tokens: tf.Tensor  # [B] int32
    seed: tf.Tensor  # [B] int64
    stop: tf.Tensor  # [B] string, stop strings joined by "\x1f", "" = none


DTYPES = Parameters(
    temperature=tf.float32,
    top_k=tf.int32,
    top_p=tf.float32,
    min_p=tf.float32,
    repetition_penalty=tf.float32,
    min_new_tokens=tf.int32,
    max_new_tokens=tf.int32,
    seed=tf.int64,
    stop=tf.string,
)


def from_config(config: DecodingConfig, rows: int | tf.Tensor) -> Parameters:
    """`config` for each of `rows` rows (a number or a scalar tensor)."""
    values = {name: getattr(config, name) for name in Parameters._fields}
    values["stop"] = STOP_SEPARATOR.join(config.stop)
    pairs = zip(Parameters._fields, DTYPES, strict=True)
    return Parameters(*(tf.fill([rows], tf.constant(values[name], dtype)) for name, dtype in pairs))


def neutral_where(rows: tf.Tensor, parameters: Parameters) -> Parameters:
    """Switches every logits processor off in the rows that do not need it, so that they cost nothing.

    Args:
      rows: `[B]` bool.
    """
    neutral = Parameters(0.0, 0, 1.0, 0.0, 1.0, 0, parameters.max_new_tokens, parameters.seed, parameters.stop)
    pairs = zip(neutral, parameters, strict=True)
    return Parameters(*(tf.where(rows, tf.cast(off, given.dtype), given) for off, given in pairs))
