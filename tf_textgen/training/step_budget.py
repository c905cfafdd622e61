"""The number of the last step, from budgets in steps, epochs and minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tf_textgen.distribution.workers import Workers
from tf_textgen.optimizers.schedules import WarmUpThenDecay
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.callbacks import RunCallback, announce
from tf_textgen.training.validation import SaveCheckpoints, Validate

_WARM_UP_STEPS = 3
_TIMED_STEPS = 20


def step_limit(config: RunConfig, steps_per_epoch: int) -> int | None:
    """Number of the last step by the budgets in steps and epochs; None if neither is given."""
    limits = [config.steps] if config.steps else []
    if config.epochs:
        limits.append(max(round(config.epochs * steps_per_epoch), 1))
    return min(limits) if limits else None


def plan_steps(config: RunConfig, steps_per_epoch: int, state: RunState) -> int | None:
    """Number of the last step by the budget that ends first; None before minutes can be turned into
    steps.

    Minutes that were turned into steps stay these steps. If a run is resumed with other minutes,
    its recorded speed is used. Both are kept in `state`: a run's schedule must not depend on chance
    twice.
    """
    limit = step_limit(config, steps_per_epoch)
    if not config.minutes:
        return limit
    if state.seconds_per_step is None:
        return None
    if state.minutes != config.minutes or state.steps_for_minutes is None:
        seconds_left = max(config.minutes * 60 - state.seconds, 0.0)
        state.minutes = config.minutes
        state.steps_for_minutes = max(state.step + int(seconds_left / state.seconds_per_step), 1)
    return min(limit or state.steps_for_minutes, state.steps_for_minutes)


class MinutesBudget(RunCallback):
    """Times the first steps, then sets `state.total_steps` and the schedule's, once; stops at the
    last step.

    The first 3 steps (tracing, compiling) are not timed; the next 20 are, or as many as fit into a
    tenth of the budget. Then a checkpoint and a validation are timed, since small models spend half
    of their time there. Nothing else of a run depends on the clock, so a run taken up again is
    exact from there on.

    Args:
      state, config: the run's.
      schedule: receives the number of the last step.
      listeners: receive the decision.
      saver, validate: the run's; None if it validates never.
      steps_per_epoch: of the training data, for a budget in epochs that may end first.
      validation_steps: of one validation.
      workers: of the training; the chief's clock decides for all.
    """

    def __init__(
        self,
        state: RunState,
        config: RunConfig,
        schedule: WarmUpThenDecay,
        listeners: Sequence[RunCallback],
        saver: SaveCheckpoints,
        validate: Validate | None,
        steps_per_epoch: int,
        validation_steps: int,
        workers: Workers,
    ) -> None:
        super().__init__()
        self.state = state
        self.config = config
        self.schedule = schedule
        self.listeners = listeners
        self.saver = saver
        self.validate = validate
        self.steps_per_epoch = steps_per_epoch
        self.validation_steps = validation_steps
        self.workers = workers
        self.budget_s = 60.0 * (config.minutes or 0.0)
        self._steps = 0
        self._timed_from = 0.0
        self._started_at = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.state.total_steps is None:
            self._time(logs)
        if self.state.finished:
            self.model.stop_training = True

    def _time(self, logs: Any) -> None:
        self._steps += 1
        timed = self._steps - _WARM_UP_STEPS
        limit = step_limit(self.config, self.steps_per_epoch)
        if limit is not None and self.state.step >= limit:
            self.state.total_steps = limit
        elif timed == 0:
            # Waits for the device.
            float(logs["loss"])
            self._timed_from = time.perf_counter()
        elif timed > 0 and (timed >= _TIMED_STEPS or self.workers.any(self._is_late())):
            float(logs["loss"])
            self._decide(self.workers.from_chief((time.perf_counter() - self._timed_from) / timed))

    def _is_late(self) -> bool:
        return time.perf_counter() - self._started_at > self.budget_s / 10

    def _decide(self, step_s: float) -> None:
        start = time.perf_counter()
        self.saver.save()
        # The decision, and perhaps the last validation, have not been written yet.
        self.saver.forget()
        save_s = time.perf_counter() - start
        validation_s = self._validation_seconds(step_s)
        every = self.config.validate_every
        self.state.seconds += time.perf_counter() - start
        seconds = step_s + validation_s / every + save_s / min(every, self.config.checkpoint_every)
        self.state.seconds_per_step = self.workers.from_chief(seconds)
        # The plan counts the rest of the minutes.
        self.state.seconds = self.workers.from_chief(self.state.seconds)
        self.state.total_steps = plan_steps(self.config, self.steps_per_epoch, self.state)
        self.schedule.total_steps = self.state.total_steps or 0
        message = (
            f"a step takes {step_s * 1000:.0f} ms, a validation {validation_s:.2f} s: the budget "
            f"of {self.config.minutes:g} minutes ends at step {self.state.steps_for_minutes}"
        )
        announce(self.listeners, "on_message", message)

    def _validation_seconds(self, step_s: float) -> float:
        """Timed the second time, without tracing; a long one is estimated: no gradients, a third of
        the work.
        """
        if self.validate is None:
            return 0.0
        estimate = self.validation_steps * step_s / 3
        if estimate > self.budget_s / 50:
            return estimate
        self.validate.rehearse()
        start = time.perf_counter()
        self.validate.rehearse()
        return time.perf_counter() - start
