"""Batches of texts through processes that tokenise, in order. Imports no TensorFlow.

Each process is a new interpreter (TensorFlow does not survive a fork) that runs `tokenizing_worker` at the other end
of a socket, so a script that opens a corpus needs no guard around its main part. A thread of this process looks after
each: it sends a batch and waits for the answer. When this process ends, however it comes, the sockets close and the
others end too.
"""

from __future__ import annotations

import collections
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from typing import Any, NamedTuple, TypeVar

from tf_textgen.errors import UserError

BatchT = TypeVar("BatchT")
ResultT = TypeVar("ResultT")
_PAYS_FROM_BYTES = 64 << 20
_MOST_BY_DEFAULT = 8
_BATCHES_PER_PROCESS = 2  # in flight: one at work, one ready or done
_EXIT_SECONDS = 10.0


class Failure(NamedTuple):
    """What went wrong in a process: a line for people, and the stack trace."""

    line: str
    trace: str


def choose_processes(asked: int, text_bytes: int) -> int:
    """How many processes are to tokenise.

    Args:
      asked: `DataConfig.tokenizing_processes`; 0 is one a core, 8 at most: more wait for the one that reads. Text of
        less than 64 MB is tokenised here, before other processes would have imported TensorFlow.
      text_bytes: of all files.
    """
    if asked:
        return asked
    return min(_num_cores(), _MOST_BY_DEFAULT) if text_bytes >= _PAYS_FROM_BYTES else 1


def map_batches(
    work: Callable[[BatchT], ResultT], batches: Iterable[BatchT], processes: int
) -> Generator[tuple[BatchT, ResultT], None, None]:
    """Each batch with what `work` makes of it, in order.

    Args:
      work: done here if `processes` is 1, else pickled for them.
      batches: read as the results are taken, two a process ahead.
      processes: how many. When the iterator is closed none is left.

    Raises:
      UserError: where a process ends early or `work` fails in it.
    """
    if processes == 1:
        return ((batch, work(batch)) for batch in batches)
    return _in_processes(work, batches, processes)


def _in_processes(
    work: Callable[[BatchT], ResultT], batches: Iterable[BatchT], count: int
) -> Generator[tuple[BatchT, ResultT], None, None]:
    pickled = _pickle_work(work, count)
    workers: list[_Worker] = []
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    waiting: collections.deque[tuple[BatchT, futures.Future[ResultT]]] = collections.deque()
    threads = futures.ThreadPoolExecutor(count)

    def done(batch: BatchT) -> ResultT:
        worker = idle.get()
        try:
            return worker.run(batch)
        finally:
            idle.put(worker)  # a dead one too, or the next thread would wait for it

    try:
        for _ in range(count):
            workers.append(_Worker(pickled, count))
            idle.put(workers[-1])
        for batch in batches:
            waiting.append((batch, threads.submit(done, batch)))
            if len(waiting) == _BATCHES_PER_PROCESS * count:
                first, result = waiting.popleft()
                yield first, result.result()
        for batch, result in waiting:
            yield batch, result.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        threads.shutdown()
        for worker in workers:
            worker.close()


class _Worker:
    """A process that runs `tokenizing_worker`, and the socket to it."""

    def __init__(self, work: bytes, count: int):
        self._work: bytes | None = work  # until it was sent
        self._came = f"--data.tokenizing_processes={count}"
        self._connection, theirs = multiprocessing.Pipe()
        # No GPU: it would take the memory of the one that this process trains on.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tf_textgen.data.tokenizing_worker", str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C at the terminal is for this process, which ends the others
            )
        except OSError as error:
            self._connection.close()
            raise UserError(
                f"{self._came}: a process cannot be started ({error.strerror or error}); expected memory and process "
                "numbers for so many; lower it"
            ) from error
        finally:
            theirs.close()

    def run(self, batch: Any) -> Any:
        """What the process makes of `batch`."""
        try:
            if self._work is not None:
                self._answer(self._work)
                self._work = None
            return self._answer(_pickle(batch))
        except (EOFError, OSError) as error:
            raise UserError(
                f"{self._came}: one of them ended early ({self._how_it_ended()}): expected all to last until the text "
                "is tokenised; lower it if memory ran out"
            ) from error

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._connection.close()

    def _answer(self, message: bytes) -> Any:
        self._connection.send_bytes(message)
        result, failure = self._connection.recv()
        if failure is not None:
            raise UserError(failure.line) from RuntimeError(failure.trace)
        return result

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _pickle_work(work: Any, count: int) -> bytes:
    try:
        return _pickle(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"--data.tokenizing_processes={count}: the tokenizer cannot be sent to other processes ({error}); expected "
            "a class at the top of a module; move it there or set 1"
        ) from error


def _pickle(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _num_cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
