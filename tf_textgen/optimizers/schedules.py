"""Learning rates by step: linear warm-up, then a decay."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf_textgen.config import did_you_mean
from tf_textgen.errors import UserError

_DEFAULT_WARMUP_STEPS = 100.0
_DEFAULT_WARMUP_SHARE = 0.1  # of the steps


def _constant(step: tf.Tensor, warmup: tf.Tensor, progress: tf.Tensor, final: float) -> tf.Tensor:
    return tf.ones_like(progress)


def _cosine(step: tf.Tensor, warmup: tf.Tensor, progress: tf.Tensor, final: float) -> tf.Tensor:
    """Loshchilov and Hutter 2017 (SGDR), eq. 5, one cycle."""
    return final + (1.0 - final) * 0.5 * (1.0 + tf.cos(math.pi * progress))


def _linear(step: tf.Tensor, warmup: tf.Tensor, progress: tf.Tensor, final: float) -> tf.Tensor:
    return 1.0 - (1.0 - final) * progress


def _inverse_sqrt(
    step: tf.Tensor, warmup: tf.Tensor, progress: tf.Tensor, final: float
) -> tf.Tensor:
    """Vaswani et al. 2017, eq. 3, scaled so that the peak is 1."""
    return tf.sqrt(tf.maximum(warmup, 1.0) / step)


DECAYS = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "inverse_sqrt": _inverse_sqrt,
}


@keras.saving.register_keras_serializable(package="tf_textgen")
class WarmUpThenDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Grows linearly to `peak` at step `warmup_steps`, then follows `decay` down to `final_fraction
    * peak`.

    Steps count from 1: the first update uses `peak / warmup_steps`, update number `total_steps` the
    final rate. `total_steps` is a variable, since a budget in minutes is known in steps only after
    the first ones were timed; 0 means not yet known, and the rate then stays at the peak after the
    warm-up.
    """

    def __init__(
        self,
        decay: str,
        peak: float,
        *,
        warmup_steps: int | None = 0,
        total_steps: int = 0,
        final_fraction: float = 0.0,
    ) -> None:
        """Makes the schedule.

        Args:
          decay: `constant`, `cosine`, `linear` or `inverse_sqrt` (the last two arguments do not
            touch `constant` and `inverse_sqrt`).
          peak: learning rate after the warm-up.
          warmup_steps: length of the warm-up; None is 100, but at most a tenth of `total_steps`.
          total_steps: number of the last update; 0 if not yet known.
          final_fraction: final rate divided by `peak`.

        Raises:
          UserError: for an unknown `decay`.
        """
        if decay not in DECAYS:
            raise UserError(
                f"learning rate schedule {decay!r}: expected one of "
                f"{', '.join(DECAYS)}{did_you_mean(decay, DECAYS)}"
            )
        self.decay = decay
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.final_fraction = final_fraction
        self._total = tf.Variable(total_steps, dtype=tf.int64, trainable=False, name="total_steps")

    @property
    def total_steps(self) -> int:
        return int(self._total.numpy())

    @total_steps.setter
    def total_steps(self, steps: int) -> None:
        self._total.assign(steps)

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate (float32 scalar) of the update after `step` (integer
        scalar) updates.
        """
        number = tf.cast(step, tf.float32) + 1.0
        known = self._total > 0
        total = tf.cast(self._total, tf.float32)
        warmup = self._warmup(known, total)
        length = tf.maximum(total - warmup, 1.0)
        progress = tf.where(known, tf.clip_by_value((number - warmup) / length, 0.0, 1.0), 0.0)
        decayed = DECAYS[self.decay](number, warmup, progress, self.final_fraction)
        return self.peak * tf.where(number < warmup, number / tf.maximum(warmup, 1.0), decayed)

    def _warmup(self, known: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        """Returns the length of the warm-up, a float32 scalar."""
        if self.warmup_steps is not None:
            return tf.constant(self.warmup_steps, tf.float32)
        most = tf.where(known, tf.floor(_DEFAULT_WARMUP_SHARE * total), _DEFAULT_WARMUP_STEPS)
        return tf.minimum(most, _DEFAULT_WARMUP_STEPS)

    def get_config(self) -> dict[str, Any]:
        return {
            "decay": self.decay,
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "final_fraction": self.final_fraction,
        }
