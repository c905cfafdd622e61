"""Picking a token from logits: greedy or by inverse CDF."""

from __future__ import annotations

import tensorflow as tf

from tf_textgen.decoding.cutoffs import masses
from tf_textgen.decoding.logits import narrow
from tf_textgen.decoding.parameters import Parameters, neutral_where


def uniforms(seed: tf.Tensor, steps: int | tf.Tensor) -> tf.Tensor:
    """One uniform of [0, 1) for each row and step, a function of only the row's seed and the step.

    Philox is counter-based: more steps only append. 52 random bits, since 23 would never reach
    tokens less probable than 1e-7.

    Args:
      seed: `[B]` int64.
      steps: number of steps `N`.

    Returns:
      `[B, N]` float64.

    Reference: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3.
    """

    def draw(row_seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(
            [steps], tf.stack([row_seed, 0]), dtype=tf.float64, alg="philox"
        )

    # In eager mode, map_fn does not know the shape of no rows.
    seed = tf.concat([seed, [0]], axis=0)
    of_row = tf.TensorSpec([None], tf.float64)
    return tf.map_fn(draw, seed, fn_output_signature=of_row)[:-1]


def greedy(logits: tf.Tensor) -> tf.Tensor:
    """The most probable token, the lowest id on ties. `[B, V]` float32 -> `[B]` int32."""
    # Unlike tf.argmax, top_k defines which of two equals is first.
    return tf.math.top_k(logits, 1).indices[:, 0]


def inverse_cdf(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """The first token, in the order of ids, at which the cumulative probability exceeds the
    uniform.

    Tokens with a logit of -inf are never chosen.

    Args:
      logits: `[B, V]` float32.
      uniform: `[B]` float64 in [0, 1).

    Returns:
      `[B]` int32.
    """
    best = tf.reduce_max(logits, axis=-1)
    cumulative = tf.cumsum(masses(logits, best), axis=-1)
    # --> [B, 1]
    goal = uniform[:, tf.newaxis] * cumulative[:, -1:]
    index = tf.searchsorted(cumulative, goal, side="right")[:, 0]
    # The index is beyond the end only in a row without any possible token.
    return tf.minimum(index, logits.shape[-1] - 1)


def log_normalizer(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the normalizer of log-probabilities `float64(logit - maximum) - log_total`.

    Args:
      logits: `[B, V]` float32.

    Returns:
      The row's maximum, `[B]` float32, and the logarithm of the sum of `exp(logit - maximum)`,
      `[B]` float64.
    """
    best = tf.reduce_max(logits, axis=-1)
    total = tf.reduce_sum(masses(logits, best), axis=-1)
    return best, tf.math.log(total)


def normalize(logits: tf.Tensor, normalizer: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Log-probabilities of some of a row's tokens; finite if the logits are, however far apart
    these are.

    Args:
      logits: `[B, K]` float32.
      normalizer: of all of the row's logits, as `log_normalizer` gives it.

    Returns:
      `[B, K]` float64.
    """
    best, log_total = normalizer
    distance = logits - best[:, tf.newaxis]
    distance = tf.where(logits > -float("inf"), tf.maximum(distance, tf.float32.min), distance)
    return tf.cast(distance, tf.float64) - log_total[:, tf.newaxis]


def log_probability(logits: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Natural logarithm of the tokens' probabilities.

    `[B, V]` float32, `[B]` int32 -> `[B]` float32.
    """
    chosen = tf.gather(logits, tokens, batch_dims=1)[:, tf.newaxis]
    values = normalize(chosen, log_normalizer(logits))
    return tf.cast(values[:, 0], tf.float32)


def pick(logits: tf.Tensor, uniform: tf.Tensor, parameters: Parameters) -> tf.Tensor:
    """The next token of each row: sampled if the temperature is above 0, else greedy.

    Args:
      logits: `[B, V]` float32, after `logits.adjust`.
      uniform: `[B]` float64.
      parameters: of the rows.

    Returns:
      `[B]` int32.
    """
    best = greedy(logits)
    samples = parameters.temperature > 0.0

    def sample() -> tf.Tensor:
        narrowed = narrow(logits, neutral_where(~samples, parameters))
        return tf.where(samples, inverse_cdf(narrowed, uniform), best)

    return tf.cond(tf.reduce_any(samples), sample, lambda: best)
