"""Logits processors: pure functions `[B, V]` float32 -> `[B, V]` float32 with a `[B]` parameter.

They are applied in the order of Hugging Face transformers
(`GenerationMixin._get_logits_processor`): `adjust` for every row (penalties, n-grams, words, banned
ids, no end before its time, what must be written), then `narrow` for rows that sample (temperature,
top-k, top-p, min-p, typical, epsilon, eta). A row whose parameter is neutral passes bit by bit,
whatever its neighbours ask for, and a processor that no row asks for is skipped.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tf_textgen.decoding import forcing
from tf_textgen.decoding.constraints import Constraints, Words, ends_with
from tf_textgen.decoding.parameter_table import PARAMETERS, Parameter
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.repetition import forbid
from tf_textgen.decoding.state import History

# The smallest normal float32: TensorFlow flushes smaller ones to zero.
_TINY = 1.2e-38


def adjust(
    logits: tf.Tensor,
    parameters: Parameters,
    constraints: Constraints,
    history: History,
    *,
    eos_id: int,
    banned_ids: Sequence[int],
    replaces_end: bool = False,
) -> tf.Tensor:
    """Applies the processors of all rows, also of greedy ones.

    Tokens that must be written win over all bans, the prefix over forced words.

    Args:
      logits: `[B, V]` float32.
      parameters: of the rows.
      constraints: of the rows.
      history: of the rows.
      eos_id: the end token.
      banned_ids: never generated.
      replaces_end: whether the caller writes `forcing.next_token` if it picks the end token
        before all forced words are there. Else the end token is impossible until then.
    """
    own = logits
    for operation, rows in _penalties().items():
        logits = _penalize(logits, operation, rows, parameters, history)
    banned = constraints.banned
    logits = _when(banned.lengths > 0, lambda x: forbid_words(x, banned, history), logits)
    logits = ban(logits, banned_ids)
    allowed = constraints.allowed
    if allowed.shape[1] != 0:  # else the shapes of `allow` would not agree
        logits = _when(tf.shape(allowed)[1] > 0, lambda x: allow(x, allowed, eos_id), logits)
    too_early = history.step < parameters.min_new_tokens
    logits = _when(too_early, lambda x: suppress(x, eos_id, too_early), logits)
    return _write(logits, own, parameters, constraints, history, None if replaces_end else eos_id)


def _write(
    logits: tf.Tensor,
    own: tf.Tensor,
    parameters: Parameters,
    constraints: Constraints,
    history: History,
    held_id: int | None,
) -> tf.Tensor:
    """Leaves only the tokens that must be written; `held_id` is impossible while words
    are missing.
    """
    words = constraints.forced
    state = history.forcing
    prefix = constraints.prefix

    def force(x: tf.Tensor) -> tf.Tensor:
        if held_id is not None:
            x = suppress(x, held_id, forcing.missing(state))
        left = parameters.max_new_tokens - history.step
        due = forcing.is_due(state, words, left)
        return only(x, own, forcing.next_token(state, words), due)

    def begin(x: tf.Tensor) -> tf.Tensor:
        tokens = prefix[:, history.step]
        return only(x, own, tokens, tokens >= 0)

    logits = _when(words.lengths > 0, force, logits)
    return _when(history.step < tf.shape(prefix)[1], begin, logits)


def narrow(logits: tf.Tensor, parameters: Parameters) -> tf.Tensor:
    """Applies the temperature and the cut-offs of the table to rows that sample."""
    temperature = parameters.temperature
    scales = tf.not_equal(temperature, 1.0) & (temperature > 0.0)
    logits = _when(scales, lambda x: scale(x, temperature), logits)
    for row in PARAMETERS:
        if row.cutoff is not None:
            logits = _cut(logits, row, getattr(parameters, row.name))
    return logits


def _cut(logits: tf.Tensor, row: Parameter, value: tf.Tensor) -> tf.Tensor:
    """Applies the cut-off of a row of the table if some row of the batch uses it."""
    operation = _resolve(str(row.cutoff))
    return _when(_is_used(row, value), lambda x: operation(x, value), logits)


def _penalties() -> dict[str, list[Parameter]]:
    """The rows of the table by the penalty that they name."""
    rows: dict[str, list[Parameter]] = {}
    for row in PARAMETERS:
        if row.penalty is not None:
            rows.setdefault(row.penalty, []).append(row)
    return rows


def _penalize(
    logits: tf.Tensor,
    operation_name: str,
    rows: Sequence[Parameter],
    parameters: Parameters,
    history: History,
) -> tf.Tensor:
    """Applies a penalty of some rows of the table if some row of the batch uses one of them."""
    operation = _resolve(operation_name)
    values = [getattr(parameters, row.name) for row in rows]
    used = [_is_used(row, value) for row, value in zip(rows, values, strict=True)]
    return _when(tf.stack(used), lambda x: operation(x, *values, history), logits)


def _resolve(operation: str) -> Callable[..., tf.Tensor]:
    """The function that the table names as `module:function`."""
    module, name = operation.split(":")
    return getattr(importlib.import_module(module), name)


def _is_used(row: Parameter, value: tf.Tensor) -> tf.Tensor:
    """The rows of the batch, `[B]` bool, whose value is not the neutral one."""
    return tf.not_equal(value, tf.cast(row.neutral, value.dtype))


def forbid_words(logits: tf.Tensor, words: Words, history: History) -> tf.Tensor:
    """Forbids the last token of each word whose first tokens end the prompt and continuation."""
    complete = ends_with(words, history.sequence, history.start, history.end, dropped=1)
    last_place = tf.maximum(words.lengths - 1, 0)
    last = tf.gather(words.tokens, last_place, batch_dims=2)
    return forbid(logits, last, complete)


def allow(logits: tf.Tensor, allowed: tf.Tensor, eos_id: int) -> tf.Tensor:
    """Makes all tokens impossible except those of `allowed`, `[B, V]` bool, and the end token."""
    is_end = tf.equal(tf.range(logits.shape[-1]), eos_id)
    return tf.where(allowed | is_end, logits, -float("inf"))


def only(logits: tf.Tensor, own: tf.Tensor, tokens: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Makes one token the only possible one in some rows, even if it is improbable.

    It gets back the model's own logit, by which a beam ranks its hypotheses, or 0 if that is not
    finite.

    Args:
      logits: `[B, V]` float32.
      own: `[B, V]` float32, those of the model.
      tokens: `[B]` int32.
      rows: `[B]` bool.
    """
    chosen = tf.equal(tf.range(logits.shape[-1]), tokens[:, tf.newaxis])
    own = tf.where(tf.math.is_finite(own), own, 0.0)
    only_chosen = tf.where(chosen, own, -float("inf"))
    return tf.where(rows[:, tf.newaxis], only_chosen, logits)


def ban(logits: tf.Tensor, ids: Sequence[int]) -> tf.Tensor:
    """Makes the ids, and logits that are NaN or infinite, impossible in every row.

    A diverged model must not crash its neighbors.
    """
    # --> [V]
    allowed = np.isin(np.arange(logits.shape[-1]), list(ids), invert=True)
    # Not `~(logits < inf)`: Grappler makes `logits >= inf` of it, which lets NaN through.
    return tf.where(allowed & (logits < float("inf")), logits, -float("inf"))


def suppress(logits: tf.Tensor, token: int, rows: tf.Tensor) -> tf.Tensor:
    """Makes one token impossible in some rows, `[B]` bool."""
    is_token = tf.equal(tf.range(logits.shape[-1]), token)
    return tf.where(rows[:, tf.newaxis] & is_token, -float("inf"), logits)


def scale(logits: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
    """Divides the logits by the temperature, if that is neither 0 nor 1.

    The row's maximum is moved to 0 first, lest a small temperature overflow.
    """
    changes = tf.not_equal(temperature, 1.0) & (temperature > 0.0)
    divisor = tf.maximum(temperature, _TINY)[:, tf.newaxis]
    best = tf.reduce_max(logits, axis=-1, keepdims=True)
    scaled = (logits - best) / divisor
    return tf.where(changes[:, tf.newaxis], scaled, logits)


def _when(
    rows: tf.Tensor, processor: Callable[[tf.Tensor], tf.Tensor], logits: tf.Tensor
) -> tf.Tensor:
    return tf.cond(tf.reduce_any(rows), lambda: processor(logits), lambda: logits)
