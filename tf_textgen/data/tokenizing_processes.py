"""Tokenization of batches of texts in several processes, in order. Does not import TensorFlow.

Each process is a new interpreter that runs `tokenizing_worker` at the other end of a socket, since
TensorFlow does not survive a fork. A script that opens a corpus therefore needs no guard around its
main part. A thread of this process serves
each of them: it sends a batch and waits for the result. When this process ends for any reason, the
sockets close and the other processes end too.
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
_PARALLEL_FROM_BYTES = 64 << 20
_DEFAULT_MOST_PROCESSES = 8
_BATCHES_PER_PROCESS = 2  # one is tokenized while another one is sent or received
_EXIT_SECONDS = 10.0


class Failure(NamedTuple):
    """An error of a process.

    Attributes:
      line: for people.
      trace: the stack trace.
    """

    line: str
    trace: str


def choose_processes(requested: int, text_bytes: int) -> int:
    """Returns the number of processes that tokenize.

    Args:
      requested: `DataConfig.tokenizing_processes`. 0 is one per core, at most 8: more would wait
        for the process that reads. Text of less than 64 MB is tokenized in this process, before
        others would have imported TensorFlow.
      text_bytes: of all files.
    """
    if requested:
        return requested
    if text_bytes < _PARALLEL_FROM_BYTES:
        return 1
    return min(_num_cores(), _DEFAULT_MOST_PROCESSES)


def map_batches(
    work: Callable[[BatchT], ResultT], batches: Iterable[BatchT], processes: int
) -> Generator[tuple[BatchT, ResultT], None, None]:
    """Applies a function to batches, in order.

    Args:
      work: the function. It is called in this process if `processes` is 1, otherwise pickled for
        the other processes.
      batches: read as the results are consumed, two batches per process ahead.
      processes: number of processes. They end when the iterator is closed.

    Yields:
      Each batch with its result.

    Raises:
      UserError: if a process ends early or `work` fails in it.
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

    def run_in_idle_worker(batch: BatchT) -> ResultT:
        worker = idle.get()
        try:
            return worker.run(batch)
        finally:
            # A worker that has ended is returned too, or the next thread would wait forever.
            idle.put(worker)

    try:
        for _ in range(count):
            worker = _Worker(pickled, count)
            workers.append(worker)
            idle.put(worker)
        for batch in batches:
            waiting.append((batch, threads.submit(run_in_idle_worker, batch)))
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
    """A process that runs `tokenizing_worker`, and the socket to it.

    Args:
      work: the pickled function.
      count: number of processes, for error messages.
    """

    def __init__(self, work: bytes, count: int):
        self._unsent_work: bytes | None = work
        self._flag = f"--data.tokenizing_processes={count}"
        self._connection, theirs = multiprocessing.Pipe()
        # Without GPUs: the process would take the memory of the GPU that this process trains on.
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
                # Ctrl-C in the terminal is for this process, which ends the others.
                start_new_session=True,
            )
        except OSError as error:
            self._connection.close()
            raise UserError(
                f"{self._flag}: cannot start a process ({error.strerror or error}); use fewer "
                "processes"
            ) from error
        finally:
            theirs.close()

    def run(self, batch: Any) -> Any:
        """Returns the result of a batch."""
        try:
            if self._unsent_work is not None:
                self._answer(self._unsent_work)
                self._unsent_work = None
            return self._answer(_pickle(batch))
        except (EOFError, OSError) as error:
            raise UserError(
                f"{self._flag}: a process ended early ({self._exit_reason()}) before the text was "
                "tokenized; use fewer processes if memory ran out"
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

    def _exit_reason(self) -> str:
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        if code < 0:
            return signal.Signals(-code).name
        return f"exit code {code}"


def _pickle_work(work: Any, count: int) -> bytes:
    try:
        return _pickle(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"--data.tokenizing_processes={count}: cannot send the tokenizer to other processes "
            f"({error}); expected a class at the top level of a module; move it there or set 1"
        ) from error


def _pickle(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _num_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
