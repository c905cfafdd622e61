"""Reads the metrics of training every few steps, never in between: reading makes the host wait for
the device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.measurement import Measurement
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.callbacks import RunCallback, announce


class Meter(RunCallback):
    """Counts steps, seconds and tokens in `state` and announces a `Measurement` every `log_every`
    steps.

    The model's metrics sum over the steps since the last measurement. The logs of each step are
    kept as tensors, so that a loss that is no longer a number can be traced to its step afterwards.

    Args:
      state: counted in; must come first among the callbacks.
      listeners: receive measurements.
      log_every: steps between measurements.
      checkpoints: names the last good one in the error.
    """

    def __init__(
        self,
        state: RunState,
        listeners: Sequence[RunCallback],
        log_every: int,
        checkpoints: Checkpoints,
    ) -> None:
        super().__init__()
        self.state = state
        self.listeners = listeners
        self.log_every = log_every
        self.checkpoints = checkpoints
        self.last: Measurement | None = None
        self.timed_tokens = 0.0
        self.timed_seconds = 0.0
        self._pending: list[Mapping[str, Any]] = []
        self._untimed_steps = 1
        self._interval_start: float | None = None
        self._process_start = time.perf_counter()
        self._seconds_before = state.seconds

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._interval_start is None:
            self._interval_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.state.step += 1
        self.state.seconds = self._seconds_before + time.perf_counter() - self._process_start
        self._pending.append(logs)
        if self._untimed_steps and len(self._pending) == 1:
            float(logs["loss"])  # waits for the device, which has compiled now
            self._interval_start = time.perf_counter()
        if self.state.step % self.log_every == 0:
            self.measure()

    def measure(self) -> None:
        """Announces the steps since the last measurement, if any.

        Raises:
          UserError: where their loss or gradient norm is not finite; names the step and the last
            good checkpoint.
        """
        if not self._pending:
            return
        values = {name: float(value) for name, value in self._pending[-1].items()}
        if not _is_finite(values):
            raise self._diverged()
        seconds = time.perf_counter() - (self._interval_start or time.perf_counter())
        timed_share = (len(self._pending) - self._untimed_steps) / len(self._pending)
        timed_tokens = values["tokens"] * timed_share
        self.timed_tokens = self.timed_tokens + timed_tokens
        self.timed_seconds = self.timed_seconds + seconds
        self.last = Measurement(
            step=self.state.step,
            loss=values["loss"],
            accuracy=values["accuracy"],
            gradient_norm=values["gradient_norm"],
            learning_rate=self._learning_rate(),
            tokens=round(values["tokens"]),
            tokens_per_second=timed_tokens / seconds if timed_tokens and seconds else 0.0,
        )
        self.state.tokens += self.last.tokens
        self._pending = []
        self._untimed_steps = 0
        self._interval_start = None
        self.model.reset_metrics()
        announce(self.listeners, "on_measurement", self.last)

    @property
    def tokens_per_second(self) -> float:
        """Over all that was timed in this process; 0 if nothing was."""
        return (
            self.timed_tokens / self.timed_seconds
            if self.timed_seconds and self.timed_tokens
            else 0.0
        )

    def _learning_rate(self) -> float:
        """Of the last update; Keras' own property gives that of the next."""
        schedule = getattr(self.model.optimizer, "schedule", None)
        return float(
            schedule(self.state.step - 1) if schedule else self.model.optimizer.learning_rate
        )

    def _diverged(self) -> UserError:
        first = self.state.step - len(self._pending) + 1
        logs = [{name: float(value) for name, value in one.items()} for one in self._pending]
        step, values = next(
            (step, one) for step, one in enumerate(logs, first) if not _is_finite(one)
        )
        what = "the loss"
        value = values["loss"]
        if math.isfinite(value):
            what = "the norm of the gradient"
            value = values["gradient_norm"]
        return diverged(f"{what} is {value} at step {step}", self.checkpoints)


def diverged(what: str, checkpoints: Checkpoints) -> UserError:
    """The error for a loss or a norm that is not a number, with the last good checkpoint."""
    good = checkpoints.newest_whole()
    kept = (
        f"the last good checkpoint is of step {good}"
        if good is not None
        else "no checkpoint was saved before"
    )
    return UserError(
        f"{what}, expected a number; {kept}; start a new run with a lower "
        "--optimizer.learning_rate, more --optimizer.warmup_steps or a lower --optimizer.clip_norm"
    )


def _is_finite(values: Mapping[str, float]) -> bool:
    return math.isfinite(values["loss"]) and math.isfinite(values["gradient_norm"])
