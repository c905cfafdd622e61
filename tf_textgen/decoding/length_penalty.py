"""By what a hypothesis' score is divided, so that hypotheses of different lengths can
be compared.
"""

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

    Reference: Wu et al. (2016), Google's neural machine translation system, equation 14 (gnmt).
    """

    length_penalty: tf.Tensor  # [B] string
    length_penalty_alpha: tf.Tensor  # [B] float32


LENGTH_PENALTY_DTYPES = LengthPenalty(*(tf.as_dtype(row.dtype) for row in BEAM_PARAMETERS))


def length_penalty_of(config: DecodingConfig, rows: int | tf.Tensor) -> LengthPenalty:
    """`config` for each of `rows` rows (a number or a scalar tensor)."""
    pairs = zip(LengthPenalty._fields, LENGTH_PENALTY_DTYPES, strict=True)
    return LengthPenalty(
        *(tf.fill([rows], tf.constant(getattr(config, name), dtype)) for name, dtype in pairs)
    )


def divisor(penalty: LengthPenalty, count: tf.Tensor) -> tf.Tensor:
    """The divisor of `count` tokens (a scalar, or one number for each row), at least 1: `[B]`
    float64.
    """
    offset = tf.where(tf.equal(penalty.length_penalty, "gnmt"), tf.constant(5.0, tf.float64), 0.0)
    alpha = tf.where(tf.equal(penalty.length_penalty, "none"), 0.0, penalty.length_penalty_alpha)
    return ((offset + tf.cast(count, tf.float64)) / (offset + 1.0)) ** tf.cast(alpha, tf.float64)


def sanitize_length_penalty(penalty: LengthPenalty) -> tuple[LengthPenalty, tf.Tensor]:
    """Makes bad rows harmless: penalties within their bounds, and `[B]` string: what is wrong with
    a row, or "".
    """
    kind, alpha = penalty
    known = tf.reduce_any(tf.equal(kind[:, tf.newaxis], tf.constant(LENGTH_PENALTIES)), axis=-1)
    fits = (alpha >= 0.0) & (alpha <= MAX_ALPHA)
    error = tf.where(
        fits, "", f"invalid length_penalty_alpha: expected a value from 0 to {MAX_ALPHA:g}"
    )
    error = tf.where(
        known, error, f"invalid length_penalty: expected one of {', '.join(LENGTH_PENALTIES)}"
    )
    return LengthPenalty(tf.where(known, kind, "none"), tf.where(fits, alpha, 0.0)), error
