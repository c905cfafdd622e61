"""Checkpoints and validations, by global step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_textgen.judging.likelihood import evaluate
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.callbacks import RunCallback, announce
from tf_textgen.training.step_metrics import Meter, diverged

Sampler = Callable[[int], str]


class SaveCheckpoints(RunCallback):
    """Saves every `every` steps and after the last; never weights that are no numbers.

    Args:
      state, checkpoints: the run's.
      meter: reads the metrics first, which raises if they are not finite.
      every: steps.
    """

    def __init__(self, state: RunState, checkpoints: Checkpoints, meter: Meter, every: int) -> None:
        super().__init__()
        self.state = state
        self.checkpoints = checkpoints
        self.meter = meter
        self.every = every
        self._saved_step: int | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.state.step % self.every == 0 or self.state.finished:
            self.save()

    def save(self) -> None:
        """Saves, unless this step was saved already."""
        if self._saved_step == self.state.step:
            return
        self.meter.measure()
        # The metrics describe only the weights before the last update.
        for variable in self.model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
                raise diverged(
                    f"{variable.path} holds inf or nan after step {self.state.step}",
                    self.checkpoints,
                )
        self.checkpoints.save(self.state, self.model, self.model.optimizer)
        self._saved_step = self.state.step

    def forget(self) -> None:
        """Lets a step be saved once more, since its state has changed."""
        self._saved_step = None


class Validate(RunCallback):
    """Validates every `every` steps and after the last, keeps the best checkpoint, stops early,
    samples texts.

    Judged are the moving averages of the weights, if the model keeps them; a checkpoint has
    both.

    Must precede `SaveCheckpoints`, so that a checkpoint knows of its step's validation.

    Args:
      state, checkpoints: the run's.
      saver: saves a step that is the best so far.
      batches: of one pass over the validation data.
      listeners: receive validations and sample texts.
      every: steps.
      patience: stop after so many validations without improvement; 0 never does.
      bytes_per_token: of the validation text, if known.
      unknown_byte_share: share of its bytes that unknown tokens hide.
      steps: number of the batches if they are distributed.
      sampler: step -> texts for people, called after each validation.
    """

    def __init__(
        self,
        state: RunState,
        checkpoints: Checkpoints,
        saver: SaveCheckpoints,
        batches: tf.data.Dataset,
        listeners: Sequence[RunCallback],
        *,
        every: int,
        patience: int = 0,
        bytes_per_token: float | None = None,
        unknown_byte_share: float = 0.0,
        steps: int | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        super().__init__()
        self.state = state
        self.checkpoints = checkpoints
        self.saver = saver
        self.batches = batches
        self.listeners = listeners
        self.every = every
        self.patience = patience
        self.bytes_per_token = bytes_per_token
        self.unknown_byte_share = unknown_byte_share
        self.steps = steps
        self.sampler = sampler

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.state.step % self.every == 0 or self.state.finished:
            self.validate()

    def validate(self) -> None:
        self.saver.meter.measure()
        with self.model.averaged():
            metrics = evaluate(
                self.model,
                self.batches,
                self.bytes_per_token,
                self.steps,
                self.unknown_byte_share,
            )
        loss = metrics["nats_per_token"]
        state = self.state
        if not math.isfinite(loss):
            raise diverged(f"the validation loss is {loss} at step {state.step}", self.checkpoints)
        is_best = state.best_loss is None or loss < state.best_loss
        if is_best:
            state.best_step = state.step
            state.best_loss = loss
            state.validations_since_best = 0
        else:
            state.validations_since_best += 1
        # First of all: what is killed after the save continues behind it, and would never show this
        # validation.
        announce(self.listeners, "on_validation", state.step, metrics)
        if is_best:
            self.saver.save()
            self.checkpoints.mark_best(state.step, loss)
        self._sample()
        self._stop_early()

    def rehearse(self) -> None:
        """Does the work of a validation without consequences: it can be timed."""
        self.saver.meter.measure()
        with self.model.averaged():
            evaluate(self.model, self.batches, steps=self.steps)
            if self.sampler is not None:
                self.sampler(self.state.step)

    def _sample(self) -> None:
        if self.sampler is None:
            return
        with self.model.averaged():
            text = self.sampler(self.state.step)
        if text:
            announce(self.listeners, "on_sample", self.state.step, text)

    def _stop_early(self) -> None:
        state = self.state
        if self.patience and state.validations_since_best >= self.patience and not state.finished:
            state.early_stopped = self.model.stop_training = True
            message = (
                f"no improvement in {self.patience} validations since step {state.best_step}: "
                "stopping early"
            )
            announce(self.listeners, "on_message", message)


class SampleFile(RunCallback):
    """Appends sample texts to `samples.txt`."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    def on_sample(self, step: int, text: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"=== step {step} ===\n{text}\n\n")
