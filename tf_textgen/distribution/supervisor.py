"""Runs workers together: their output becomes one, and they end as one.

One thread does it all. It looks ten times a second, which needs neither a handler of SIGCHLD nor
locks.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from tf_textgen.distribution.lines import PrefixedLines
from tf_textgen.distribution.worker import Worker

PEER_LOST_EXIT_CODE = 3
"""Of a worker that ends because another one was lost: it tells of a failure, but is not the first."""
_TICK_S = 0.1
_LAST_OUTPUT_S = 2.0  # for pipes held open by a process that outlives its worker
_READ_BYTES = 1 << 16


class Task(NamedTuple):
    """One worker to start; see `Worker`."""

    command: Sequence[str]
    environment: Mapping[str, str]
    cores: Sequence[int] = ()


class Outcome(NamedTuple):
    """How the workers ended.

    Attributes:
      exit_code: 0; that of the worker which failed first; or 128 + the signal at which they
        stopped.
      failure: which worker failed first, how, and its last error line; None where none did.
    """

    exit_code: int
    failure: str | None = None


class Supervisor:
    """Starts workers and waits for all of them.

    When one fails, the others are asked to save and stop (SIGTERM), and killed after a grace time.
    The same request follows SIGINT and SIGTERM, without a limit; a second signal kills. Belongs to
    the main thread: workers die with the thread that started them, and signals are handled there.

    Args:
      tasks: the workers to start.
      grace_s: between SIGTERM and SIGKILL for the other workers when one has failed.
      stdout, stderr: what the workers write, line by line behind `[worker 0] `.
      cause_s: how long after a worker that lost a peer another failure counts as the first: 2 s,
        since the worker that failed may take longer to end than those which it left.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        grace_s: float,
        stdout: BinaryIO,
        stderr: BinaryIO,
        cause_s: float = 2.0,
    ) -> None:
        self._tasks = tasks
        self._grace_s = grace_s
        self._cause_s = cause_s
        self._outputs = (stdout, stderr)
        self._workers: list[Worker] = []
        self._errors: list[PrefixedLines] = []
        self._failed: list[int] = []
        self._failed_at = 0.0
        self._first: int | None = None
        self._kill_at = float("inf")
        self._heeded = 0

    def run(self) -> Outcome:
        with _noted_signals() as signals, selectors.DefaultSelector() as pipes:
            try:
                for index, task in enumerate(self._tasks):
                    self._start(index, task, pipes)
                while any(worker.is_alive for worker in self._workers):
                    self._relay(pipes)
                    self._heed(signals)
                    self._watch()
                self._watch()
                self._relay_rest(pipes)
            finally:
                for worker in self._workers:
                    worker.close()
        if self._first is not None:
            return Outcome(self._workers[self._first].exit_code, self._describe(self._first))
        unfinished = any(worker.exit_code for worker in self._workers)
        return Outcome(128 + signals[0] if signals and unfinished else 0)

    def _start(self, index: int, task: Task, pipes: selectors.BaseSelector) -> None:
        worker = Worker(*task)
        self._workers.append(worker)
        prefix = f"[worker {index:>{len(str(len(self._tasks) - 1))}}] "
        lines = [PrefixedLines(prefix, output) for output in self._outputs]
        for pipe, relay in zip(worker.outputs, lines, strict=True):
            pipes.register(pipe, selectors.EVENT_READ, relay)
        self._errors.append(lines[1])

    def _relay(self, pipes: selectors.BaseSelector) -> bool:
        """Passes on what comes within a tick; whether anything did."""
        ready = pipes.select(_TICK_S)
        for key, _ in ready:
            if data := os.read(key.fd, _READ_BYTES):
                key.data.feed(data)
            else:
                key.data.finish()
                pipes.unregister(key.fileobj)
        return bool(ready)

    def _relay_rest(self, pipes: selectors.BaseSelector) -> None:
        """What the ended workers left in their pipes."""
        deadline = time.monotonic() + _LAST_OUTPUT_S
        while pipes.get_map() and (self._relay(pipes) or time.monotonic() < deadline):
            pass
        for key in pipes.get_map().values():
            key.data.finish()

    def _heed(self, signals: Sequence[int]) -> None:
        for count, number in enumerate(signals[self._heeded :], self._heeded):
            name = signal.Signals(number).name
            if count == 0:
                self._note(f"{name}: the workers save and stop; a second signal kills them")
                self._terminate()
            else:
                self._note(f"{name}: the workers are killed")
                self._kill()
            self._heeded += 1

    def _watch(self) -> None:
        """Notes who has failed, and ends the others."""
        now = time.monotonic()
        alive = any(worker.is_alive for worker in self._workers)
        for index, worker in enumerate(self._workers):
            if worker.has_failed and index not in self._failed:
                self._failed_at = self._failed_at or now
                self._failed.append(index)
        if self._failed and self._first is None:
            self._judge(now, alive)
        if now >= self._kill_at:
            self._kill()

    def _judge(self, now: float, alive: bool) -> None:
        """Decides which worker failed first, as soon as that can be reported."""
        causes = [i for i in self._failed if self._workers[i].exit_code != PEER_LOST_EXIT_CODE]
        if not causes and alive and now < self._failed_at + self._cause_s:
            return
        self._first = (causes or self._failed)[0]
        if alive:
            self._note(
                f"worker {self._first} failed by {self._workers[self._first].describe_exit()}: the "
                f"others save and stop, and are killed after {self._grace_s:g} s"
            )
            self._terminate()
            self._kill_at = now + self._grace_s

    def _terminate(self) -> None:
        for worker in self._workers:
            worker.terminate()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _describe(self, index: int) -> str:
        last = self._errors[index].last.removeprefix("error: ")
        said = f"; its last error line: {last}" if last else "; it wrote no error"
        return f"worker {index} of {len(self._workers)} failed first, by {self._workers[index].describe_exit()}{said}"

    def _note(self, text: str) -> None:
        stderr = self._outputs[1]
        stderr.write(f"note: {text}\n".encode())
        stderr.flush()


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """The numbers of all SIGINT and SIGTERM so far; nothing else happens at them within
    the block.
    """
    came: list[int] = []
    noted = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in noted]
    try:
        yield came
    finally:
        for number, handler in zip(noted, before, strict=True):
            signal.signal(number, handler)
