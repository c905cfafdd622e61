"""Logits processors: pure functions `[B, V]` float32 -> `[B, V]` float32 with a `[B]` parameter.

They are applied in the order of Hugging Face transformers (`GenerationMixin._get_logits_processor`): `adjust` for every
row (repetition penalty, banned ids, no end before min_new_tokens), then `narrow` for rows that sample (temperature,
top-k, top-p, min-p). A row whose parameter is neutral passes bit by bit, whatever its neighbours ask for, and a
processor that no row asks for is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tf_textgen.decoding.parameters import Parameters

_TINY = 1.2e-38  # smallest normal float32: TensorFlow flushes smaller ones to zero
_TIERS = (256, 1024)  # candidates tried before all of the vocabulary is sorted


def adjust(
    logits: tf.Tensor,
    parameters: Parameters,
    *,
    seen: tf.Tensor,
    step: tf.Tensor,
    eos_id: int,
    banned_ids: Sequence[int],
) -> tf.Tensor:
    """What holds for greedy rows too.

    Args:
      logits: `[B, V]` float32.
      parameters: of the rows.
      seen: `[B, V]` bool, tokens of the prompt and the continuation so far.
      step: scalar int32, number of tokens generated so far.
      eos_id: the end token.
      banned_ids: never generated.
    """
    penalty, too_early = parameters.repetition_penalty, step < parameters.min_new_tokens
    logits = _when(tf.not_equal(penalty, 1.0), lambda x: penalize_repetition(x, penalty, seen), logits)
    logits = ban(logits, banned_ids)
    return _when(too_early, lambda x: suppress(x, eos_id, too_early), logits)


def narrow(logits: tf.Tensor, parameters: Parameters) -> tf.Tensor:
    """What holds for rows that sample."""
    temperature, k, p, min_p = parameters.temperature, parameters.top_k, parameters.top_p, parameters.min_p
    logits = _when(tf.not_equal(temperature, 1.0) & (temperature > 0.0), lambda x: scale(x, temperature), logits)
    logits = _when((k > 0) & (k < logits.shape[-1]), lambda x: keep_top_k(x, k), logits)
    logits = _when(p < 1.0, lambda x: keep_top_p(x, p), logits)
    return _when(min_p > 0.0, lambda x: keep_min_p(x, min_p), logits)


def penalize_repetition(logits: tf.Tensor, penalty: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Divides positive logits of seen tokens by the penalty and multiplies negative ones.

    Reference: Keskar et al. (2019), CTRL, section 4.1; the sign rule is Hugging Face's.
    """
    penalty = penalty[:, tf.newaxis]
    weakened = tf.where(logits < 0.0, logits * penalty, logits / penalty)
    weakened = tf.clip_by_value(weakened, tf.float32.min, tf.float32.max)  # an overflow is not an impossibility
    return tf.where(seen & tf.math.is_finite(logits), weakened, logits)


def ban(logits: tf.Tensor, ids: Sequence[int]) -> tf.Tensor:
    """Takes the ids, and what is NaN or infinite, from every row: a diverged model must not crash its neighbours."""
    allowed = np.isin(np.arange(logits.shape[-1]), list(ids), invert=True)  # --> [V]
    # Not `~(logits < inf)`: Grappler makes `logits >= inf` of it, which lets NaN through.
    return tf.where(allowed & (logits < float("inf")), logits, -float("inf"))


def suppress(logits: tf.Tensor, token: int, rows: tf.Tensor) -> tf.Tensor:
    """Takes one token from some rows, `[B]` bool."""
    return tf.where(rows[:, tf.newaxis] & tf.equal(tf.range(logits.shape[-1]), token), -float("inf"), logits)


def scale(logits: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
    """Divides the logits by the temperature, where that is neither 0 nor 1.

    The row's maximum is moved to 0 first, lest a small temperature overflow.
    """
    changes = tf.not_equal(temperature, 1.0) & (temperature > 0.0)
    divisor = tf.maximum(temperature, _TINY)[:, tf.newaxis]
    scaled = (logits - tf.reduce_max(logits, axis=-1, keepdims=True)) / divisor
    return tf.where(changes[:, tf.newaxis], scaled, logits)


def keep_top_k(logits: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Keeps the k most probable tokens and those equal to the k-th, as Hugging Face does; k < 1 keeps all.

    Reference: Fan et al. (2018), Hierarchical neural story generation, section 5.1.
    """
    vocabulary_size = logits.shape[-1]
    changes = (k > 0) & (k < vocabulary_size)
    k = tf.where(changes, k, 1)

    def kth(width: int) -> tuple[tf.Tensor, tf.Tensor]:
        reached = k <= width
        values = tf.math.top_k(logits, width).values
        return tf.gather(values, tf.minimum(k, width) - 1, batch_dims=1), reached

    (threshold,) = _tiered(kth, vocabulary_size)
    return _keep(logits >= threshold[:, tf.newaxis], changes, logits)


def keep_top_p(logits: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """Keeps the fewest most probable tokens whose mass is at least p; of equal ones the lower ids; 1 keeps all.

    A token stays if and only if the mass before it is below p, so the first always does.

    Reference: Holtzman et al. (2020), The curious case of neural text degeneration, section 3.1.
    """
    changes = p < 1.0
    best = tf.reduce_max(logits, axis=-1)
    goal = tf.cast(p, tf.float64) * tf.reduce_sum(weights(logits, best), axis=-1)  # --> [B]

    def last_kept(width: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        values, ids = tf.math.top_k(logits, width)  # of equals the lower id first
        below = tf.cumsum(weights(values, best), axis=-1) < goal[:, tf.newaxis]
        last = tf.reduce_sum(tf.cast(below[:, :-1], tf.int32), axis=-1)
        reached = ~(changes & below[:, -1])
        return tf.gather(values, last, batch_dims=1), tf.gather(ids, last, batch_dims=1), reached

    value, token = _tiered(last_kept, logits.shape[-1])
    value, token = value[:, tf.newaxis], token[:, tf.newaxis]
    kept = (logits > value) | (tf.equal(logits, value) & (tf.range(logits.shape[-1]) <= token))
    return _keep(kept, changes, logits)


def keep_min_p(logits: tf.Tensor, min_p: tf.Tensor) -> tf.Tensor:
    """Keeps tokens at least min_p times as probable as the most probable one; 0 keeps all.

    Reference: Nguyen et al. (2024), Turning up the heat: min-p sampling for creative and coherent LLM outputs.
    """
    distance = tf.cast(tf.math.log(tf.cast(min_p, tf.float64)), tf.float32)[:, tf.newaxis]
    kept = logits - tf.reduce_max(logits, axis=-1, keepdims=True) >= distance
    return _keep(kept, min_p > 0.0, logits)


def weights(logits: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
    """Unnormalised probabilities `exp(logits - best)` in float64.

    Float64 keeps a row's result free of its neighbours and of the compiler: the order of a float32 sum depends
    on the batch's size and shows in the sixth digit, that of a float64 sum would show in the fifteenth.

    Args:
      logits: `[B, K]` float32.
      best: `[B]` float32, the row's maximum.
    """
    return tf.exp(tf.cast(logits - best[:, tf.newaxis], tf.float64))


def _when(rows: tf.Tensor, processor: Callable[[tf.Tensor], tf.Tensor], logits: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_any(rows), lambda: processor(logits), lambda: logits)


def _keep(kept: tf.Tensor, changes: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.where(kept | ~changes[:, tf.newaxis], logits, -float("inf"))


def _tiered(find: Callable[[int], tuple], vocabulary_size: int) -> tuple:
    """`find(width)` of the narrowest tier that reaches far enough in every row, without the last of its results.

    `find` looks at the `width` largest logits; its last result, `[B]` bool, tells whether they were enough. The others
    must not depend on the width where they were. To sort 50,257 logits takes 20 times as long as the largest 256.
    """
    widths = [tier for tier in _TIERS if tier < vocabulary_size] + [vocabulary_size]

    def widen(widths: list[int]) -> tuple:
        *most, reached = find(widths[0])
        found = tuple(most)
        if len(widths) == 1:
            return found
        return tf.cond(tf.reduce_all(reached), lambda: found, lambda: widen(widths[1:]))

    return widen(widths)
