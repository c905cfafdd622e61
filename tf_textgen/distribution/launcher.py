"""Runs the workers of one training on this machine: if one fails, all stop. Does not import
TensorFlow.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import dataclasses
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO, TextIO

from tf_textgen.config import Config, field
from tf_textgen.distribution.cluster import WORKER_LOST_EXIT_CODE
from tf_textgen.errors import UserError

_HOST = "127.0.0.1"
_TICK_S = 0.1
_READ_BYTES = 1 << 16
# A worker that fails may take longer to end than a worker that has lost it.
_CAUSE_S = 2.0
_NEVER = float("inf")
_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LauncherConfig(Config):
    """The number of workers, their cores and the time they get to stop."""

    num_workers: int = field(
        2, "Number of workers; two are the fewest that share a training.", at_least=1, at_most=64
    )
    cores_per_worker: int = field(
        0, "CPU cores reserved for each worker; with 0, all workers use all cores.", at_least=0
    )
    grace_s: float = field(
        30.0,
        "Seconds that the other workers get to save and stop when one has failed, before they are "
        "killed; 30 are enough for a checkpoint.",
        at_least=0.0,
    )


class Launcher:
    """Starts the workers, relays their output line by line and waits until all have ended.

    If a worker fails, the others get SIGTERM, at which they save and stop, and SIGKILL after
    `grace_s`. SIGINT and SIGTERM are passed on as SIGTERM without a time limit; a second signal
    kills. One thread does it all, so that processes are forked safely and no lock is needed. It has
    to be the main thread: Python handles signals there, and the workers end with it.

    Args:
      command: program and arguments of every worker; `TF_CONFIG` says which one it is.
      config: number of workers, their cores and the time to stop.

    Raises:
      UserError: if there are too few cores, or the platform cannot pin processes to cores.
    """

    def __init__(self, command: Sequence[str], config: LauncherConfig) -> None:
        self._command = command
        self._grace_s = config.grace_s
        self._cores = cores_of_workers(config.num_workers, config.cores_per_worker)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._failures: list[int] = []
        self._expected_codes = {0}
        self._signal = 0
        self._stop_at = _NEVER
        self._kill_at = _NEVER

    def run(self) -> int:
        """Returns the exit code: 0; that of the worker that failed first; or 128 + the signal."""
        try:
            with selectors.DefaultSelector() as pipes:
                self._start(pipes)
                self._wait(pipes)
        finally:
            self._kill()
            for worker in self._workers:
                worker.wait()
                for pipe in _pipes(worker):
                    pipe.close()
        if self._failures:
            index, code = self._first_failure()
            _say(f"error: worker {index} of {len(self._workers)} failed first, by {_name(code)}")
            return code if code >= 0 else 128 - code
        if self._signal and any(worker.returncode for worker in self._workers):
            return 128 + self._signal
        return 0

    def _start(self, pipes: selectors.BaseSelector) -> None:
        for index, tf_config in enumerate(tf_configs(len(self._cores))):
            worker = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "TF_CONFIG": tf_config, "PYTHONUNBUFFERED": "1"},
                # Ctrl-C in a terminal reaches the launcher only.
                start_new_session=True,
                preexec_fn=functools.partial(_become_worker, os.getpid(), self._cores[index]),
            )
            self._workers.append(worker)
            targets = (sys.stdout, sys.stderr)
            for pipe, target in zip(_pipes(worker), targets, strict=True):
                lines = _Lines(f"[worker {index}] ", target)
                pipes.register(pipe, selectors.EVENT_READ, lines)

    def _wait(self, pipes: selectors.BaseSelector) -> None:
        handlers = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, self._on_signal)
        try:
            while self._watch():
                _relay(pipes, _TICK_S)
            # The last output of the workers is still in the pipes.
            while _relay(pipes, 0.0):
                pass
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._signal:
            _say(f"note: {name}: the workers are killed")
            self._kill()
        else:
            self._signal = number
            _say(f"note: {name}: the workers save and stop; a second signal kills them")
            self._terminate()

    def _watch(self) -> bool:
        """Stops all workers if one has failed. Returns whether any runs."""
        now = time.monotonic()
        alive = self._alive()
        for index, worker in enumerate(self._workers):
            if worker in alive or worker.returncode in self._expected_codes:
                continue
            if index not in self._failures:
                self._failures.append(index)
                only_lost = worker.returncode == WORKER_LOST_EXIT_CODE
                self._stop_at = min(self._stop_at, now + (_CAUSE_S if only_lost else 0.0))
        if now >= self._stop_at and alive and self._kill_at == _NEVER:
            index, code = self._first_failure()
            self._kill_at = now + self._grace_s
            _say(
                f"note: worker {index} failed by {_name(code)}: the others save and stop, and are "
                f"killed after {self._grace_s:g} s"
            )
            self._terminate()
        if now >= self._kill_at:
            self._kill()
        return bool(alive)

    def _first_failure(self) -> tuple[int, int]:
        """Index and return code of the cause, which is not a worker that only lost another one."""
        for index in self._failures:
            code = self._workers[index].returncode
            if code != WORKER_LOST_EXIT_CODE:
                return index, code
        return self._failures[0], WORKER_LOST_EXIT_CODE

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        alive = []
        for worker in self._workers:
            if worker.returncode is not None:
                continue
            if worker.poll() is None:
                alive.append(worker)
            else:
                # Processes that it has started end with it.
                _kill_group(worker)
        return alive

    def _terminate(self) -> None:
        # Only once, because a second SIGTERM ends a worker that is saving.
        if -signal.SIGTERM not in self._expected_codes:
            self._expected_codes |= {-signal.SIGTERM, 128 + signal.SIGTERM}
            for worker in self._alive():
                worker.terminate()

    def _kill(self) -> None:
        self._expected_codes.add(-signal.SIGKILL)
        for worker in self._alive():
            _kill_group(worker)


class _Lines:
    """Writes the output of one pipe in whole lines, each after a prefix."""

    def __init__(self, prefix: str, target: TextIO) -> None:
        self._prefix = prefix.encode()
        self._target = target
        self._rest = b""

    def relay(self, file_descriptor: int) -> bool:
        """Writes the lines that are complete. Returns whether the pipe is still open."""
        data = os.read(file_descriptor, _READ_BYTES)
        text = self._rest + data
        if text and not data:
            text += b"\n"
        *lines, self._rest = text.split(b"\n")
        output = b"".join(self._prefix + line + b"\n" for line in lines)
        encoding = self._target.encoding
        if codecs.lookup(encoding).name != "utf-8":
            # Workers write UTF-8 to their pipes; this is a terminal that shows another encoding.
            output = output.decode("utf-8", "replace").encode(encoding, "backslashreplace")
        self._target.buffer.write(output)
        self._target.flush()
        return bool(data)


def _relay(pipes: selectors.BaseSelector, timeout_s: float) -> bool:
    """Relays what the workers write within the timeout. Returns whether one did."""
    ready = pipes.select(timeout_s) if pipes.get_map() else []
    for key, _ in ready:
        if not key.data.relay(key.fd):
            pipes.unregister(key.fileobj)
    return bool(ready)


def _pipes(worker: subprocess.Popen[bytes]) -> list[IO[bytes]]:
    """The pipes of its standard output and standard error."""
    return [pipe for pipe in (worker.stdout, worker.stderr) if pipe is not None]


def _become_worker(launcher: int, cores: Sequence[int]) -> None:
    """Runs in the new process before its program, and so before TensorFlow counts the cores."""
    if cores:
        os.sched_setaffinity(0, cores)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            # The launcher ended before the kernel was asked to watch it.
            os._exit(1)


def _kill_group(worker: subprocess.Popen[bytes]) -> None:
    # No process may be left, which macOS reports as PermissionError.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)


def _name(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"


def _say(text: str) -> None:
    # Unbuffered, because a signal may arrive in the middle of a buffered write.
    os.write(sys.stderr.fileno(), f"{text}\n".encode())


def tf_configs(num_workers: int) -> list[str]:
    """Returns the `TF_CONFIG` of each worker of a cluster on the loopback device.

    If another process takes a port before its worker does, the worker reports it and fails.
    """
    with contextlib.ExitStack() as stack:
        # All sockets are open until the last port is chosen, so that the ports differ.
        sockets = [stack.enter_context(socket.socket()) for _ in range(num_workers)]
        for listener in sockets:
            listener.bind((_HOST, 0))
        addresses = [f"{_HOST}:{listener.getsockname()[1]}" for listener in sockets]
    configs = []
    for index in range(num_workers):
        task = {"type": "worker", "index": index}
        configs.append(json.dumps({"cluster": {"worker": addresses}, "task": task}))
    return configs


def cores_of_workers(num_workers: int, cores_per_worker: int) -> list[list[int]]:
    """Returns the cores of each worker, out of those that this process may use; none if not pinned.

    Raises:
      UserError: if there are too few cores, or the platform cannot pin processes.
    """
    if not cores_per_worker:
        return [[] for _ in range(num_workers)]
    flag = f"--cores_per_worker={cores_per_worker}"
    if not hasattr(os, "sched_setaffinity"):
        raise UserError(f"{flag}: this platform cannot pin processes to cores; expected 0")
    cores = sorted(os.sched_getaffinity(0))
    needed = num_workers * cores_per_worker
    if needed > len(cores):
        raise UserError(
            f"{flag}: {num_workers} workers would need {needed} cores, and only {len(cores)} are "
            f"available; expected at most {len(cores) // num_workers}, or fewer workers"
        )
    starts = range(0, needed, cores_per_worker)
    return [cores[start : start + cores_per_worker] for start in starts]
