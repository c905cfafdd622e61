"""Requests of different people answered in one run of the graph.

A run for 32 rows takes a tenth of the time of 32 runs for one row (3.3 times that of one, for 60
tokens of the quick start's model on two cores), and the graph gives each row the answer that it
gives to a single request. So requests that wait are joined along the first dimension, as TF
Serving's `--enable_batching` does, and their answers are taken apart again. Requests for longer
texts do not delay those for shorter ones.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from tf_textgen.server.json_tensors import Arrays
from tf_textgen.server.request_error import RequestError, invalid

Run = Callable[[str, Arrays], Arrays]
Key = tuple[str, tuple[tuple[int, ...], ...], int]


@dataclasses.dataclass(frozen=True)
class _Task:
    key: Key  # requests of the same key may be joined
    inputs: Arrays
    rows: int
    arrived: float
    future: Future[Arrays]


def check_rows(rows: int, max_batch_size: int) -> None:
    """Raises `RequestError` if one request has more rows than a run may have."""
    if rows > max_batch_size:
        raise invalid(
            f"{rows} rows came: expected at most {max_batch_size} (--max_batch_size); send fewer"
        )


class Batcher:
    """A queue and the threads that empty it.

    Args:
      run: `(signature name, inputs) -> outputs`, every array with the batch first.
      max_batch_size: rows of a run.
      batch_timeout_s: how long the oldest task waits for others.
      max_queue_rows: rows that may wait.
      num_threads: runs at the same time. A step of decoding is many small operations, of which
        TensorFlow spreads few over several cores.
      on_batch: called with the signature and the rows of each run.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_batch_size: int,
        batch_timeout_s: float,
        max_queue_rows: int,
        num_threads: int = 1,
        on_batch: Callable[[str, int], None] = lambda signature, rows: None,
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._batch_timeout_s = batch_timeout_s
        self._max_queue_rows = max_queue_rows
        self._on_batch = on_batch
        self._tasks: collections.deque[_Task] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batcher {number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        with self._changed:
            return self._queued_rows()

    def submit(self, signature: str, inputs: Arrays) -> Future[Arrays]:
        """Queues a request whose inputs fit the signature; a future that is cancelled in time is
        not run.

        Raises:
          RequestError: 400 if it has more rows than a run, 503 where too many wait.
        """
        rows = len(next(iter(inputs.values())))
        check_rows(rows, self._max_batch_size)
        key = (
            signature,
            tuple(inputs[name].shape[1:] for name in sorted(inputs)),
            _length_class(inputs),
        )
        task = _Task(key, inputs, rows, time.monotonic(), Future())
        with self._changed:
            if self._closed:
                raise RequestError(503, "the server is shutting down; try again elsewhere")
            waiting = self._queued_rows()
            if waiting + rows > self._max_queue_rows:
                raise RequestError(503, f"overloaded: {waiting} rows wait already; try again later")
            self._tasks.append(task)
            # One thread may wait for a task, another for this one to fill its batch.
            self._changed.notify_all()
        return task.future

    def close(self) -> None:
        """Answers what waits and ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _queued_rows(self) -> int:
        return sum(task.rows for task in self._tasks)

    def _work(self) -> None:
        while batch := self._next():
            # A future that was cancelled, since its deadline passed, costs no run.
            if wanted := [task for task in batch if task.future.set_running_or_notify_cancel()]:
                self._answer(wanted)
            del batch, wanted  # lest an idle thread hold the last requests' memory

    def _next(self) -> list[_Task]:
        """The oldest task and those that may run with it; empty when closed."""
        with self._changed:
            while True:
                if not self._tasks:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                oldest = self._tasks[0]
                left = oldest.arrived + self._batch_timeout_s - time.monotonic()
                if self._closed or left <= 0 or not self._is_filling(oldest.key):
                    return self._take(oldest.key)
                self._changed.wait(left)  # after which another thread may have taken it

    def _is_filling(self, key: Key) -> bool:
        return sum(task.rows for task in self._tasks if task.key == key) < self._max_batch_size

    def _take(self, key: Key) -> list[_Task]:
        taken: list[_Task] = []
        kept: collections.deque[_Task] = collections.deque()
        rows = 0
        for task in self._tasks:
            fits = task.key == key and rows + task.rows <= self._max_batch_size
            (taken if fits else kept).append(task)
            rows += task.rows * fits
        self._tasks = kept
        return taken

    def _answer(self, tasks: Sequence[_Task]) -> None:
        """Runs all at once, or if that fails one by one, so that none suffers from another's
        request.
        """
        try:
            answers = self._run_joined(tasks)
        except (
            Exception
        ) as error:  # whatever it is, it belongs to those who asked, and the thread continues
            if len(tasks) > 1:
                for task in tasks:
                    self._answer([task])
            else:
                tasks[0].future.set_exception(error)
            return
        for task, answer in zip(tasks, answers, strict=True):
            task.future.set_result(answer)

    def _run_joined(self, tasks: Sequence[_Task]) -> list[Arrays]:
        signature = tasks[0].key[0]
        names = tasks[0].inputs
        outputs = self._run(
            signature,
            {name: np.concatenate([task.inputs[name] for task in tasks]) for name in names},
        )
        self._on_batch(signature, sum(task.rows for task in tasks))
        ends = np.cumsum([task.rows for task in tasks])
        return [
            cut_padding({name: array[end - task.rows : end] for name, array in outputs.items()})
            for task, end in zip(tasks, ends, strict=True)
        ]


def _length_class(inputs: Arrays) -> int:
    """A number that is equal for texts of similar lengths, within a factor of two, since a batch
    takes as long as its longest text.
    """
    wanted = inputs.get("chunk_tokens", inputs.get("max_new_tokens"))
    return 0 if wanted is None else int(wanted.max(initial=0)).bit_length()


def cut_padding(outputs: Arrays) -> Arrays:
    """Removes the padding that the rows of other requests have caused.

    Outputs by token, `[B, ..., N]`, are named `token_...`; `token_count`, `[B, ...]`, is the number
    of tokens of a row.
    """
    counts = outputs.get("token_count")
    if counts is None:
        return outputs
    longest = int(counts.max(initial=0))
    return {
        name: array[..., :longest]
        if name.startswith("token_") and array.ndim == counts.ndim + 1
        else array
        for name, array in outputs.items()
    }
