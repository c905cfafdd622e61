"""The divisor of a hypothesis' score, by which hypotheses of different lengths can be compared."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameter_table import BEAM_PARAMETERS, LENGTH_PENALTIES, MAX_ALPHA


class LengthPenalty(NamedTuple):
    """The fields of `DecodingConfig` for each row.

    With `n` the number of generated tokens, the end token among them and the prompt's never, the
    divisor is
      none     1
      gnmt     `((5 + n) / 6) ** alpha`
      average  `n ** alpha`

    Attributes:
      length_penalty: `[B]` string.
      length_penalty_alpha: `[B]` float32.

    Reference: Wu et al. (2016), Google's neural machine translation system, equation 14 (gnmt).
    """

    length_penalty: tf.Tensor
    length_penalty_alpha: tf.Tensor


LENGTH_PENALTY_DTYPES = LengthPenalty(*(tf.as_dtype(row.dtype) for row in BEAM_PARAMETERS))


def length_penalty_of(config: DecodingConfig, rows: int | tf.Tensor) -> LengthPenalty:
    """`config` for each of `rows` rows (a number or a scalar tensor)."""
    vectors = {}
    for name, dtype in LENGTH_PENALTY_DTYPES._asdict().items():
        vectors[name] = tf.fill([rows], tf.constant(getattr(config, name), dtype))
    return LengthPenalty(**vectors)


def divisor(penalty: LengthPenalty, count: tf.Tensor) -> tf.Tensor:
    """The divisor of `count` tokens (a scalar, or one number for each row), at least 1: `[B]`
    float64.
    """
    kind = penalty.length_penalty
    offset = tf.where(tf.equal(kind, "gnmt"), tf.constant(5.0, tf.float64), 0.0)
    alpha = tf.where(tf.equal(kind, "none"), 0.0, penalty.length_penalty_alpha)
    length = (offset + tf.cast(count, tf.float64)) / (offset + 1.0)
    return length ** tf.cast(alpha, tf.float64)


def sanitize_length_penalty(penalty: LengthPenalty) -> tuple[LengthPenalty, tf.Tensor]:
    """Makes bad rows harmless.

    Returns:
      Penalties within their bounds, and `[B]` string, the error of a row, or "".
    """
    kind = penalty.length_penalty
    alpha = penalty.length_penalty_alpha
    known = tf.reduce_any(tf.equal(kind[:, tf.newaxis], tf.constant(LENGTH_PENALTIES)), axis=-1)
    fits = (alpha >= 0.0) & (alpha <= MAX_ALPHA)
    bad_alpha = f"invalid length_penalty_alpha: expected a value from 0 to {MAX_ALPHA:g}"
    bad_kind = f"invalid length_penalty: expected one of {', '.join(LENGTH_PENALTIES)}"
    error = tf.where(fits, "", bad_alpha)
    error = tf.where(known, error, bad_kind)
    safe = LengthPenalty(
        length_penalty=tf.where(known, kind, "none"),
        length_penalty_alpha=tf.where(fits, alpha, 0.0),
    )
    return safe, error
