"""Progress for people: a bar on a terminal, plain lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from tf_textgen.progress_line import ProgressLine
from tf_textgen.runs.measurement import Measurement
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.callbacks import RunCallback

_BAR_CHARACTERS = 20


class Progress(RunCallback):
    """Shows step, loss of the last interval, tokens/s and time left.

    Args:
      state: the run's.
      output: standard output if None; if it is no terminal, a line is written at most every 10
        seconds, and at validations.
    """

    def __init__(self, state: RunState, output: TextIO | None = None) -> None:
        super().__init__()
        self.state = state
        self._line = ProgressLine(output or sys.stdout, starts_due=True)
        self._start: tuple[float, int] | None = None
        self._has_validated = False

    def on_measurement(self, measurement: Measurement) -> None:
        if self._line.is_terminal:
            self._line.draw(f"{self._bar()} {self._describe(measurement)}")
        elif self._line.is_due(is_last=self.state.finished):
            self._line.write(self._describe(measurement))

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        if not self._has_validated:  # it took the time of its compilation, as no other will
            self._has_validated = True
            self._start = None
        best = " (best so far)" if self.state.best_step == step else ""
        self._line.write(f"step {step}: {describe_metrics(metrics)}{best}")

    def on_message(self, text: str) -> None:
        self._line.write(text)

    def on_train_end(self, logs: object = None) -> None:
        self._line.draw("")

    def _describe(self, measurement: Measurement) -> str:
        total = f"/{self.state.total_steps}" if self.state.total_steps else ""
        words = [f"step {measurement.step}{total}", f"loss {measurement.loss:.4f}"]
        if measurement.tokens_per_second:
            words.append(f"{measurement.tokens_per_second:,.0f} tokens/s")
        if (left := self._seconds_left()) is not None:
            words.append(f"{format_duration(left)} left")
        return "  ".join(words)

    def _seconds_left(self) -> float | None:
        """From the wall time since a measurement: without compilation, with validations and
        checkpoints.
        """
        # A budget of minutes is about to be made one of steps, which takes time.
        if self.state.total_steps is None:
            return None
        now = time.monotonic()
        step = self.state.step
        since, first_step = self._start = self._start or (now, step)
        if step == first_step:
            return None
        return (now - since) / (step - first_step) * max(self.state.total_steps - step, 0)

    def _bar(self) -> str:
        if not self.state.total_steps:
            return "[" + " " * _BAR_CHARACTERS + "]"
        filled = min(_BAR_CHARACTERS * self.state.step // self.state.total_steps, _BAR_CHARACTERS)
        return "[" + "=" * filled + " " * (_BAR_CHARACTERS - filled) + "]"


def describe_metrics(metrics: Mapping[str, float]) -> str:
    """Returns the metrics of a validation in words."""
    words = [
        f"validation {metrics['nats_per_token']:.4f} nats/token",
        f"perplexity {metrics['perplexity']:.2f}",
    ]
    if "bits_per_byte" in metrics:
        words.append(f"{metrics['bits_per_byte']:.3f} bits/byte")
    if "unknown_byte_share" in metrics:
        words[-1] += f" ({metrics['unknown_byte_share']:.1%} of the bytes are unknown)"
    return ", ".join(words)


def format_duration(seconds: float) -> str:
    """`1:05`, `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
