"""Cut-offs: which tokens a row that samples may still choose.

Each takes `[B, V]` float32 logits and a `[B]` parameter, leaves the logits of what is kept as they
are and sets the others to -inf; something is always kept. A row whose parameter is neutral passes
bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Numbers of candidates that are tried before the whole vocabulary is sorted.
_TIERS = (256, 1024)


def keep_top_k(logits: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Keeps the k most probable tokens and those equal to the k-th, as Hugging Face does; k < 1
    keeps all.

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
    return restrict(logits >= threshold[:, tf.newaxis], changes, logits)


def keep_top_p(logits: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """Keeps the fewest most probable tokens whose mass is at least p; of equal ones the lower ids;
    1 keeps all.

    A token stays if and only if the mass before it is below p, so the first always does.

    Reference: Holtzman et al. (2020), The curious case of neural text degeneration, section 3.1.
    """
    changes = p < 1.0
    vocabulary_size = logits.shape[-1]
    best = tf.reduce_max(logits, axis=-1)
    total = tf.reduce_sum(masses(logits, best), axis=-1)
    goal = tf.cast(p, tf.float64) * total

    def last_kept(width: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Of equals the lower id is first.
        values, ids = tf.math.top_k(logits, width)
        last, reached = _first_to_reach(goal, masses(values, best), changes)
        value = tf.gather(values, last, batch_dims=1)
        token = tf.gather(ids, last, batch_dims=1)
        return value, token, reached

    value, token = _tiered(last_kept, vocabulary_size)
    value = value[:, tf.newaxis]
    token = token[:, tf.newaxis]
    is_lower = tf.range(vocabulary_size) <= token
    kept = (logits > value) | (tf.equal(logits, value) & is_lower)
    return restrict(kept, changes, logits)


def keep_min_p(logits: tf.Tensor, min_p: tf.Tensor) -> tf.Tensor:
    """Keeps tokens at least min_p times as probable as the most probable one; 0 keeps all.

    Reference: Nguyen et al. (2024), Turning up the heat: min-p sampling for creative and coherent
    LLM outputs.
    """
    distance = tf.math.log(tf.cast(min_p, tf.float64))
    distance = tf.cast(distance, tf.float32)[:, tf.newaxis]
    best = tf.reduce_max(logits, axis=-1, keepdims=True)
    return restrict(logits - best >= distance, min_p > 0.0, logits)


def keep_typical(logits: tf.Tensor, mass: tf.Tensor) -> tf.Tensor:
    """Keeps the tokens whose surprise is nearest to the expected one, until their mass is at least
    `mass`; 1 keeps all.

    Tokens as far from it as the last one kept stay too, as with Hugging Face. The most probable
    token may go: it is no typical one if the next token is uncertain.

    Reference: Meister et al. (2023), Locally typical sampling, section 4.
    """
    changes = mass < 1.0
    best = tf.reduce_max(logits, axis=-1)
    unnormalized = masses(logits, best)
    total = tf.reduce_sum(unnormalized, axis=-1)
    distance = tf.abs(_above(logits, best) - _expected(logits, unnormalized, best))
    nearness = -tf.cast(distance, tf.float32)
    goal = tf.cast(mass, tf.float64) * total

    def farthest(width: int) -> tuple[tf.Tensor, tf.Tensor]:
        values, ids = tf.math.top_k(nearness, width)
        candidates = tf.gather(unnormalized, ids, batch_dims=1)
        last, reached = _first_to_reach(goal, candidates, changes)
        return tf.gather(values, last, batch_dims=1), reached

    (border,) = _tiered(farthest, logits.shape[-1])
    return restrict(nearness >= border[:, tf.newaxis], changes, logits)


def keep_epsilon(logits: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Keeps tokens of probability `epsilon` or more, and the most probable one in any case; 0 keeps
    all.

    Reference: Hewitt et al. (2022), Truncation sampling as language model desmoothing, section 4.1.
    """
    best = tf.reduce_max(logits, axis=-1)
    total = tf.reduce_sum(masses(logits, best), axis=-1)
    border = tf.cast(epsilon, tf.float64)
    kept = _is_probable(logits, best, total, border)
    return restrict(kept, epsilon > 0.0, logits)


def keep_eta(logits: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Keeps tokens of probability `min(epsilon, sqrt(epsilon) exp(-entropy))` or more, and the most
    probable; 0: all.

    Reference: Hewitt et al. (2022), Truncation sampling as language model desmoothing, section 4.2.
    """
    best = tf.reduce_max(logits, axis=-1)
    unnormalized = masses(logits, best)
    total = tf.reduce_sum(unnormalized, axis=-1)
    border = tf.cast(epsilon, tf.float64)
    expected = _expected(logits, unnormalized, best)[:, 0]
    entropy = tf.math.log(total) - expected
    border = tf.minimum(border, tf.sqrt(border) * tf.exp(-entropy))
    kept = _is_probable(logits, best, total, border)
    return restrict(kept, epsilon > 0.0, logits)


def masses(logits: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
    """Unnormalised probabilities `exp(logits - best)` in float64.

    Float64 keeps a row's result free of its neighbours and of the compiler: the order of a float32
    sum depends on the batch's size and shows in the sixth digit, that of a float64 sum would show
    in the fifteenth.

    Args:
      logits: `[B, K]` float32.
      best: `[B]` float32, the row's maximum.
    """
    return tf.exp(tf.cast(logits - best[:, tf.newaxis], tf.float64))


def restrict(kept: tf.Tensor, changes: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Sets logits to -inf.

    Args:
      kept: `[B, V]` bool, the tokens that stay.
      changes: `[B]` bool, the rows that lose the others.
      logits: `[B, V]` float32.
    """
    return tf.where(kept | ~changes[:, tf.newaxis], logits, -float("inf"))


def _above(logits: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
    """Log-probabilities but for a constant of the row, `[B, V]` float64."""
    return tf.cast(logits - best[:, tf.newaxis], tf.float64)


def _expected(logits: tf.Tensor, unnormalized: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
    """The expectation of `_above` under the row's distribution, `[B, 1]` float64."""
    # An impossible token adds nothing.
    products = tf.math.multiply_no_nan(_above(logits, best), unnormalized)
    total = tf.reduce_sum(unnormalized, axis=-1, keepdims=True)
    return tf.reduce_sum(products, axis=-1, keepdims=True) / total


def _is_probable(
    logits: tf.Tensor, best: tf.Tensor, total: tf.Tensor, border: tf.Tensor
) -> tf.Tensor:
    """Tokens of probability `border` (`[B]` float64) or more, or as probable as the most probable:
    `[B, V]` bool.
    """
    # The distance from the best logit, above 0 if no token is probable.
    distance = tf.cast(tf.math.log(border * total), tf.float32)
    distance = tf.minimum(distance, 0.0)
    return logits - best[:, tf.newaxis] >= distance[:, tf.newaxis]


def _first_to_reach(
    goal: tf.Tensor, candidates: tf.Tensor, changes: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The first candidate at which the cumulative mass reaches the goal, or else the last one.

    Args:
      goal: `[B]` float64.
      candidates: `[B, K]` float64, masses.
      changes: `[B]` bool, rows that have a goal.

    Returns:
      `[B]` int32, and `[B]` bool, whether the goal is reached.
    """
    below = tf.cumsum(candidates, axis=-1) < goal[:, tf.newaxis]
    last = tf.reduce_sum(tf.cast(below[:, :-1], tf.int32), axis=-1)
    return last, ~(changes & below[:, -1])


def _tiered(find: Callable[[int], tuple], vocabulary_size: int) -> tuple:
    """`find(width)` of the narrowest tier that reaches far enough in every row, without the last of
    its results.

    `find` looks at the `width` largest logits; its last result, `[B]` bool, says whether they were
    enough. The others must not depend on the width if they were. To sort 50,257 logits takes 20
    times as long as the largest 256.
    """
    widths = [tier for tier in _TIERS if tier < vocabulary_size]
    widths.append(vocabulary_size)

    def widen(widths: list[int]) -> tuple:
        *most, reached = find(widths[0])
        found = tuple(most)
        if len(widths) == 1:
            return found
        return tf.cond(tf.reduce_all(reached), lambda: found, lambda: widen(widths[1:]))

    return widen(widths)
