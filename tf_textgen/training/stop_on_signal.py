"""Stops a training on SIGINT or SIGTERM, after a checkpoint of its last step."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from tf_textgen.distribution.workers import Workers
from tf_textgen.training.callbacks import RunCallback, announce
from tf_textgen.training.validation import SaveCheckpoints

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Job managers signal a launcher and, at the same time, the workers that it hands the signal on to.
_SAME_SIGTERM_S = 2.0


class StopOnSignal(RunCallback):
    """Finishes the step, saves and stops on SIGINT or SIGTERM; a second signal ends the process at
    once.

    Python's own handlers are called between two operations of TensorFlow, of which compiling or
    sampling may take minutes. So a thread counts the signals as they come, and ends the process
    with what it is doing; a checkpoint is whole or absent all the same.

    A signal to one of several workers stops them all, at the same step.

    A context manager: the signals are the process's own again after it. `number` is the signal that
    stopped the training, on all workers, or None; a shell's exit code for it is 128 + `number`: 130
    for SIGINT, 143 for SIGTERM.
    """

    def __init__(
        self, saver: SaveCheckpoints, listeners: Sequence[RunCallback], workers: Workers
    ) -> None:
        super().__init__()
        self.saver = saver
        self.listeners = listeners
        self.workers = workers
        self.number: int | None = None
        self._came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
            reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            self._woken_before = signal.set_wakeup_fd(self._writer)
            threading.Thread(target=_end_at_second, args=(reader,), daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._before:
            signal.set_wakeup_fd(self._woken_before)
            os.close(self._writer)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.workers.any(self._came is not None):
            return
        # Without a signal of its own, a worker takes the other's for SIGTERM.
        self.number = self._came or signal.SIGTERM
        self.saver.save()
        self.model.stop_training = True
        name = signal.Signals(self.number).name
        step = self.saver.state.step
        announce(
            self.listeners,
            "on_message",
            f"{name}: saved step {step}; the same command again continues from there",
        )

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = number


def _end_at_second(reader: int) -> None:
    """Ends the process at the second signal that is written to the pipe; returns when
    it is closed.
    """
    first = None
    with open(reader, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            now = time.monotonic()
            if number[0] not in _SIGNALS or (
                number[0] == signal.SIGTERM and first and now - first < _SAME_SIGTERM_S
            ):
                continue
            if first:
                os.write(2, b"interrupted\n")
                os._exit(128 + number[0])
            first = now
