"""Decoding parameters as vectors: every row of a batch may have its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import (
    MAX_BANNED,
    MAX_FORCED,
    MAX_STOP_BYTES,
    MAX_STOPS,
    MAX_WORD_BYTES,
    NO_SAMPLING,
    SEPARATOR,
    DecodingConfig,
)


class Parameters(NamedTuple):
    """The fields of `DecodingConfig` for each row.

    TF Serving merges requests along the first dimension only.
    """

    temperature: tf.Tensor  # [B] float32, 0 = greedy
    top_k: tf.Tensor  # [B] int32, 0 = all
    top_p: tf.Tensor  # [B] float32
    min_p: tf.Tensor  # [B] float32
    typical_p: tf.Tensor  # [B] float32
    epsilon_cutoff: tf.Tensor  # [B] float32
    eta_cutoff: tf.Tensor  # [B] float32
    repetition_penalty: tf.Tensor  # [B] float32
    frequency_penalty: tf.Tensor  # [B] float32
    presence_penalty: tf.Tensor  # [B] float32
    no_repeat_ngram: tf.Tensor  # [B] int32, 0 = none
    min_new_tokens: tf.Tensor  # [B] int32
    max_new_tokens: tf.Tensor  # [B] int32
    min_length_ratio: tf.Tensor  # [B] float32, tokens for each token of the source
    max_length_ratio: tf.Tensor  # [B] float32, 0 = no bound
    loop_repeats: tf.Tensor  # [B] int32, 0 = never
    seed: tf.Tensor  # [B] int64
    stop: tf.Tensor  # [B] string, stop strings joined by "\x1f", "" = none
    banned: tf.Tensor  # [B] string, joined in the same way
    allowed: tf.Tensor  # [B] string, joined in the same way
    forced: tf.Tensor  # [B] string, joined in the same way
    forced_prefix: tf.Tensor  # [B] string


_JOINED = ("stop", "banned", "allowed", "forced")
_TEXTS = (*_JOINED, "forced_prefix")
_WHOLE = ("top_k", "no_repeat_ngram", "min_new_tokens", "max_new_tokens", "loop_repeats")
_ODD = {"seed": tf.int64, **dict.fromkeys(_WHOLE, tf.int32), **dict.fromkeys(_TEXTS, tf.string)}
DTYPES = Parameters(*(_ODD.get(name, tf.float32) for name in Parameters._fields))
_NEUTRAL = {"top_p": 1.0, "typical_p": 1.0, "repetition_penalty": 1.0}  # all others: 0, greedy
SEARCH_FIELDS = tuple(
    name for name in Parameters._fields if name not in {*NO_SAMPLING, "seed"}
)  # what a beam reads
_KEPT = ("max_new_tokens", "seed", *_TEXTS)  # what is no processor's


def from_config(config: DecodingConfig, rows: int | tf.Tensor) -> Parameters:
    """`config` for each of `rows` rows (a number or a scalar tensor)."""
    pairs = zip(values_of(config).values(), DTYPES, strict=True)
    return Parameters(*(tf.fill([rows], tf.constant(value, dtype)) for value, dtype in pairs))


def values_of(config: DecodingConfig) -> dict[str, Any]:
    """The fields of `Parameters` of one row, as Python values."""
    values = {name: getattr(config, name) for name in Parameters._fields}
    values["temperature"] = config.resolved_temperature
    return {**values, **{name: SEPARATOR.join(values[name]) for name in _JOINED}}


def neutral_where(rows: tf.Tensor, parameters: Parameters) -> Parameters:
    """Switches every logits processor off in the rows that do not need it, so that they cost
    nothing.

    Args:
      rows: `[B]` bool.
    """
    off = {name: _NEUTRAL.get(name, 0) for name in Parameters._fields if name not in _KEPT}
    given = parameters._asdict()
    return parameters._replace(
        **{
            name: tf.where(rows, tf.cast(value, given[name].dtype), given[name])
            for name, value in off.items()
        }
    )


def sanitize(
    parameters: Parameters, vocabulary_size: int, bound: int, has_source: bool = False
) -> tuple[Parameters, tf.Tensor]:
    """Makes bad rows harmless, so that one bad request does not fail those that were merged with
    it.

    Args:
      parameters: as they came.
      vocabulary_size: a larger top_k keeps all tokens, as this number does.
      bound: largest number of new tokens served.
      has_source: whether the model maps a source, so that lengths relative to it have a meaning.

    Returns:
      Parameters within their bounds (a bad row gets one greedy token), and `[B]` string: what is
        wrong with it, or "".
    """
    error = tf.fill(tf.shape(parameters.seed), "")
    for text, fits in reversed(_checks(parameters, bound, has_source).items()):
        error = tf.where(fits, error, text)
    safe = harmless_where(tf.not_equal(error, ""), parameters)
    return safe._replace(top_k=tf.minimum(safe.top_k, vocabulary_size)), error


def harmless_where(rows: tf.Tensor, parameters: Parameters) -> Parameters:
    """Lets some rows, `[B]` bool, have one greedy token."""
    safe = neutral_where(rows, parameters)
    texts = {name: tf.where(rows, "", getattr(safe, name)) for name in _TEXTS}
    return safe._replace(max_new_tokens=tf.where(rows, 1, safe.max_new_tokens), **texts)


def with_ratios(parameters: Parameters, source_lengths: tf.Tensor, needed: tf.Tensor) -> Parameters:
    """Makes lengths relative to the source numbers of tokens, within `max_new_tokens`.

    Args:
      parameters: of the rows.
      source_lengths: `[B]` int32, tokens of the sources.
      needed: `[B]` int32, tokens that must be written: the least that the longest length is.

    Returns:
      Parameters with `min_new_tokens` and `max_new_tokens` to match: the shortest length rounded
      up, the longest down, but to 1 at least.
    """
    lengths = tf.cast(source_lengths, tf.float32)
    most = parameters.max_new_tokens
    bound = tf.cast(parameters.max_new_tokens, tf.float32)
    # In float32, since 10 tokens times 1.1 are 11, but more in float64 once the ratio is rounded to
    # float32.
    longest = tf.cast(tf.minimum(tf.floor(parameters.max_length_ratio * lengths), bound), tf.int32)
    longest = tf.maximum(tf.maximum(longest, needed), 1)
    longest = tf.where(parameters.max_length_ratio > 0.0, longest, most)
    shortest = tf.cast(
        tf.minimum(tf.math.ceil(parameters.min_length_ratio * lengths), bound), tf.int32
    )
    shortest = tf.minimum(tf.maximum(shortest, parameters.min_new_tokens), longest)
    return parameters._replace(max_new_tokens=longest, min_new_tokens=shortest)


def _checks(parameters: Parameters, bound: int, has_source: bool) -> dict[str, tf.Tensor]:
    """Returns error of a row -> `[B]` bool, the rows without that error."""
    given = parameters
    finite = tf.math.is_finite
    fewest = given.min_new_tokens
    most = given.max_new_tokens
    shortest = given.min_length_ratio
    longest = given.max_length_ratio
    sources = "a finite value >= 0" if has_source else "0, there is no source"
    checks = {
        "temperature: expected a finite value >= 0": finite(given.temperature)
        & (given.temperature >= 0.0),
        "top_k: expected an integer >= 0": given.top_k >= 0,
        "top_p: expected a value > 0 and <= 1": (given.top_p > 0.0) & (given.top_p <= 1.0),
        "min_p: expected a value >= 0 and <= 1": (given.min_p >= 0.0) & (given.min_p <= 1.0),
        "typical_p: expected a value > 0 and <= 1": (given.typical_p > 0.0)
        & (given.typical_p <= 1.0),
        "epsilon_cutoff: expected a value >= 0 and < 1": (given.epsilon_cutoff >= 0.0)
        & (given.epsilon_cutoff < 1.0),
        "eta_cutoff: expected a value >= 0 and < 1": (given.eta_cutoff >= 0.0)
        & (given.eta_cutoff < 1.0),
        "repetition_penalty: expected a finite value > 0": finite(given.repetition_penalty)
        & (given.repetition_penalty > 0.0),
        "frequency_penalty: expected a value from -2 to 2": tf.abs(given.frequency_penalty) <= 2.0,
        "presence_penalty: expected a value from -2 to 2": tf.abs(given.presence_penalty) <= 2.0,
        "no_repeat_ngram: expected an integer >= 0": given.no_repeat_ngram >= 0,
        "min_new_tokens: expected an integer >= 0": fewest >= 0,
        f"max_new_tokens: expected an integer from 1 to {bound}": (most >= 1) & (most <= bound),
        "min_new_tokens: expected at most max_new_tokens": fewest <= most,
        f"min_length_ratio: expected {sources}": _is_ratio(shortest, has_source),
        f"max_length_ratio: expected {sources}": _is_ratio(longest, has_source),
        "min_length_ratio: expected at most max_length_ratio": (shortest <= longest)
        | (longest <= 0.0),
        "loop_repeats: expected 0 or an integer >= 2": (given.loop_repeats == 0)
        | (given.loop_repeats >= 2),
        **_fit("stop", given.stop, MAX_STOPS, MAX_STOP_BYTES),
        **_fit("banned", given.banned, MAX_BANNED, MAX_WORD_BYTES),
        **_fit("forced", given.forced, MAX_FORCED, MAX_WORD_BYTES),
    }
    return {f"invalid {text}": fits for text, fits in checks.items()}


def _is_ratio(ratio: tf.Tensor, has_source: bool) -> tf.Tensor:
    return tf.math.is_finite(ratio) & (ratio >= 0.0) & (has_source | tf.equal(ratio, 0.0))


def _fit(name: str, joined: tf.Tensor, most: int, most_bytes: int) -> dict[str, tf.Tensor]:
    strings = tf.strings.split(joined, SEPARATOR)
    longest = tf.reduce_max(tf.strings.length(strings).to_tensor(0), axis=-1)
    fits = (strings.row_lengths() <= most) & (longest <= most_bytes)
    return {f"{name}: expected at most {most} strings of at most {most_bytes} bytes": fits}
