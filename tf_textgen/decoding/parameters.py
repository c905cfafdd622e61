"""Decoding parameters as vectors: every row of a batch may have its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import MAX_STOP_BYTES, MAX_STOPS, NO_SAMPLING, STOP_SEPARATOR, DecodingConfig


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
SEARCH_FIELDS = tuple(name for name in Parameters._fields if name not in {*NO_SAMPLING, "seed"})  # what a beam reads


def from_config(config: DecodingConfig, rows: int | tf.Tensor) -> Parameters:
    """`config` for each of `rows` rows (a number or a scalar tensor)."""
    pairs = zip(values_of(config).values(), DTYPES, strict=True)
    return Parameters(*(tf.fill([rows], tf.constant(value, dtype)) for value, dtype in pairs))


def values_of(config: DecodingConfig) -> dict[str, Any]:
    """The fields of `Parameters` of one row, as Python values."""
    values = {name: getattr(config, name) for name in Parameters._fields}
    return {**values, "temperature": config.resolved_temperature, "stop": STOP_SEPARATOR.join(config.stop)}


def neutral_where(rows: tf.Tensor, parameters: Parameters) -> Parameters:
    """Switches every logits processor off in the rows that do not need it, so that they cost nothing.

    Args:
      rows: `[B]` bool.
    """
    neutral = Parameters(0.0, 0, 1.0, 0.0, 1.0, 0, parameters.max_new_tokens, parameters.seed, parameters.stop)
    pairs = zip(neutral, parameters, strict=True)
    return Parameters(*(tf.where(rows, tf.cast(off, given.dtype), given) for off, given in pairs))


def sanitize(parameters: Parameters, vocabulary_size: int, bound: int) -> tuple[Parameters, tf.Tensor]:
    """Makes bad rows harmless, so that one bad request does not fail those that were merged with it.

    Args:
      parameters: as they came.
      vocabulary_size: a larger top_k keeps all tokens, as this number does.
      bound: largest number of new tokens served.

    Returns:
      Parameters within their bounds (a bad row gets one greedy token), and `[B]` string: what is wrong with it, or "".
    """
    temperature, top_k, top_p, min_p, penalty, fewest, most, _, stop = parameters
    checks = {
        "invalid temperature: expected a finite value >= 0": tf.math.is_finite(temperature) & (temperature >= 0.0),
        "invalid top_k: expected an integer >= 0": top_k >= 0,
        "invalid top_p: expected a value > 0 and <= 1": (top_p > 0.0) & (top_p <= 1.0),
        "invalid min_p: expected a value >= 0 and <= 1": (min_p >= 0.0) & (min_p <= 1.0),
        "invalid repetition_penalty: expected a finite value > 0": tf.math.is_finite(penalty) & (penalty > 0.0),
        "invalid min_new_tokens: expected an integer >= 0": fewest >= 0,
        f"invalid max_new_tokens: expected an integer from 1 to {bound}": (most >= 1) & (most <= bound),
        "invalid min_new_tokens: expected at most max_new_tokens": fewest <= most,
        f"invalid stop: expected at most {MAX_STOPS} strings of at most {MAX_STOP_BYTES} bytes": _stops_fit(stop),
    }
    error = tf.fill(tf.shape(stop), "")
    for text, fits in reversed(checks.items()):
        error = tf.where(fits, error, text)
    bad = tf.not_equal(error, "")
    safe = neutral_where(bad, parameters)
    return safe._replace(
        top_k=tf.minimum(safe.top_k, vocabulary_size),
        max_new_tokens=tf.where(bad, 1, safe.max_new_tokens),
        stop=tf.where(bad, "", safe.stop),
    ), error


def _stops_fit(stop: tf.Tensor) -> tf.Tensor:
    strings = tf.strings.split(stop, STOP_SEPARATOR)
    longest = tf.reduce_max(tf.strings.length(strings).to_tensor(0), axis=-1)
    return (strings.row_lengths() <= MAX_STOPS) & (longest <= MAX_STOP_BYTES)
