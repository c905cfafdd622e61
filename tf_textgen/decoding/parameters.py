"""Decoding parameters as vectors, with one value per row."""

from __future__ import annotations

import collections
from typing import Any

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameter_table import NEUTRAL, PARAMETERS, SEPARATOR, Parameter

# The fields follow from the table, which type checkers cannot see.
_make_tuple: Any = collections.namedtuple
_Vectors: Any = _make_tuple("_Vectors", [row.name for row in PARAMETERS])


class Parameters(_Vectors):
    """One `[B]` tensor for each parameter of the table, of its dtype.

    Several strings of a row are one string, joined with `SEPARATOR`. TF Serving merges requests
    along the first dimension, so every row has its own value.
    """

    __slots__ = ()


DTYPES = Parameters(*(tf.as_dtype(row.dtype) for row in PARAMETERS))
# The parameters that a beam uses.
SEARCH_FIELDS = tuple(row.name for row in PARAMETERS if not row.samples and row.name != "seed")


def from_config(config: DecodingConfig, rows: int | tf.Tensor) -> Parameters:
    """Returns the parameters of `config` for `rows` rows, a number or a scalar tensor."""
    vectors = {}
    for name, value in values_of(config).items():
        dtype = getattr(DTYPES, name)
        vectors[name] = tf.fill([rows], tf.constant(value, dtype))
    return Parameters(**vectors)


def values_of(config: DecodingConfig) -> dict[str, Any]:
    """Returns the values of one row, as Python values."""
    values = {}
    for row in PARAMETERS:
        value = getattr(config, row.name)
        values[row.name] = SEPARATOR.join(value) if row.several else value
    values["temperature"] = config.resolved_temperature
    return values


def neutral_where(rows: tf.Tensor, parameters: Parameters) -> Parameters:
    """Switches all logits processors off in some rows.

    Args:
      rows: `[B]` bool.
      parameters: of the rows.
    """
    neutral = {}
    for row in PARAMETERS:
        if row.neutral is not None:
            value = getattr(parameters, row.name)
            neutral[row.name] = tf.where(rows, tf.cast(row.neutral, value.dtype), value)
    return parameters._replace(**neutral)


def sanitize(
    parameters: Parameters, vocabulary_size: int, bound: int, has_source: bool = False
) -> tuple[Parameters, tf.Tensor]:
    """Makes bad rows harmless, so that a bad request does not fail those that were merged with it.

    Args:
      parameters: of the request.
      vocabulary_size: a larger top_k keeps all tokens, as this number does.
      bound: largest number of new tokens of a request.
      has_source: whether the model maps a source, so that lengths can be relative to it.

    Returns:
      Parameters within their bounds (a bad row gets one greedy token), and the error of each row,
        or "": `[B]` string.
    """
    error = tf.fill(tf.shape(parameters.seed), "")
    checks = _checks(parameters, bound, has_source)
    # The first check that fails gives the error.
    for expected, fits in reversed(checks):
        error = tf.where(fits, error, f"invalid {expected}")
    safe = harmless_where(tf.not_equal(error, ""), parameters)
    return safe._replace(top_k=tf.minimum(safe.top_k, vocabulary_size)), error


def harmless_where(rows: tf.Tensor, parameters: Parameters) -> Parameters:
    """Gives some rows, `[B]` bool, one greedy token."""
    safe = neutral_where(rows, parameters)
    harmless = {"max_new_tokens": tf.where(rows, 1, safe.max_new_tokens)}
    for row in PARAMETERS:
        if row.dtype == "string":
            harmless[row.name] = tf.where(rows, "", getattr(safe, row.name))
    return safe._replace(**harmless)


def with_ratios(parameters: Parameters, source_lengths: tf.Tensor, needed: tf.Tensor) -> Parameters:
    """Replaces lengths relative to the source by numbers of tokens, within `max_new_tokens`.

    Args:
      parameters: of the rows.
      source_lengths: `[B]` int32, tokens of the sources.
      needed: `[B]` int32, number of tokens that must be generated, a lower bound of the longest
        length.

    Returns:
      Parameters with `min_new_tokens` (the shortest length, rounded up) and `max_new_tokens` (the
      longest, rounded down, at least 1).
    """
    lengths = tf.cast(source_lengths, tf.float32)
    most = parameters.max_new_tokens
    bound = tf.cast(most, tf.float32)
    # In float32 10 tokens times 1.1 are 11; in float64 they are more, since the ratio is a float32.
    longest = tf.floor(parameters.max_length_ratio * lengths)
    longest = tf.cast(tf.minimum(longest, bound), tf.int32)
    longest = tf.maximum(tf.maximum(longest, needed), 1)
    longest = tf.where(parameters.max_length_ratio > 0.0, longest, most)
    shortest = tf.math.ceil(parameters.min_length_ratio * lengths)
    shortest = tf.cast(tf.minimum(shortest, bound), tf.int32)
    shortest = tf.maximum(shortest, parameters.min_new_tokens)
    shortest = tf.minimum(shortest, longest)
    return parameters._replace(max_new_tokens=longest, min_new_tokens=shortest)


# `NAME: expected ...`, and `[B]` bool, the rows that fulfil it.
Check = tuple[str, tf.Tensor]


def _checks(parameters: Parameters, bound: int, has_source: bool) -> list[Check]:
    """Returns the checks of all rows: first of each value, then of their order."""
    checks = []
    for row in PARAMETERS:
        value = getattr(parameters, row.name)
        if row.needs_source and not has_source:
            fits = tf.equal(value, row.neutral)
            checks.append((f"{row.name}: expected {row.neutral:g}, there is no source", fits))
        elif row.name == "max_new_tokens":
            fits = (value >= 1) & (value <= bound)
            checks.append((f"{row.name}: expected an integer from 1 to {bound}", fits))
        elif row.is_checked:
            checks.append((f"{row.name}: expected {row.expected}", _within_bounds(row, value)))
        elif row.most is not None:
            checks.append(_strings_check(row, value))
    for row in PARAMETERS:
        if row.not_above is not None:
            checks.append(_order_check(row.name, row.not_above, parameters))
    return checks


def _within_bounds(row: Parameter, value: tf.Tensor) -> tf.Tensor:
    fits = tf.ones_like(value, tf.bool)
    if value.dtype.is_floating:
        fits = tf.math.is_finite(value)
    if row.at_least is not None:
        fits &= value >= tf.cast(row.at_least, value.dtype)
    if row.above is not None:
        fits &= value > tf.cast(row.above, value.dtype)
    if row.at_most is not None:
        fits &= value <= tf.cast(row.at_most, value.dtype)
    if row.below is not None:
        fits &= value < tf.cast(row.below, value.dtype)
    if row.least_used is not None:
        fits &= tf.equal(value, row.neutral) | (value >= tf.cast(row.least_used, value.dtype))
    return fits


def _order_check(low: str, high: str, parameters: Parameters) -> Check:
    most = getattr(parameters, high)
    fits = getattr(parameters, low) <= most
    if NEUTRAL[high] is not None:
        fits |= tf.equal(most, NEUTRAL[high])
    return f"{low}: expected at most {high}", fits


def _strings_check(row: Parameter, joined: tf.Tensor) -> Check:
    strings = tf.strings.split(joined, SEPARATOR)
    sizes = tf.strings.length(strings).to_tensor(0)
    longest = tf.reduce_max(sizes, axis=-1)
    fits = (strings.row_lengths() <= row.most) & (longest <= row.most_bytes)
    expected = f"at most {row.most} strings of at most {row.most_bytes} bytes"
    return f"{row.name}: expected {expected}", fits
