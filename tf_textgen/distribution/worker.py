"""One process of a training."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

_START = pathlib.Path(__file__).with_name("start.py")
_STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # before it could save, and after


class Worker:
    """A process that leads a session of its own, so that Ctrl-C in a terminal reaches the launcher
    alone.

    Args:
      command: the program's path and its arguments.
      environment: variables set next to the launcher's own.
      cores: that the process and its children run on; all if empty.

    Attributes:
      outputs: the pipes of its standard output and standard error.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], cores: Sequence[int] = ()
    ) -> None:
        start = [
            sys.executable,
            "-I",
            "-S",
            str(_START),
            str(os.getpid()),
            ",".join(map(str, cores)),
        ]
        self.process = subprocess.Popen(
            [*start, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self.outputs = [pipe for pipe in (self.process.stdout, self.process.stderr) if pipe]
        self._terminated = self._killed = False

    def poll(self) -> int | None:
        """The return code as `subprocess` has it, once the process has ended; what it started ends
        with it.
        """
        if self.process.returncode is None and self.process.poll() is not None:
            self._kill_group()
        return self.process.returncode

    @property
    def is_alive(self) -> bool:
        return self.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it has ended otherwise than well or as it was asked to."""
        code = self.poll()
        return bool(code) and not self._killed and not (self._terminated and code in _STOPPED)

    @property
    def exit_code(self) -> int:
        """As a shell has it: 128 + the number of the signal that ended the process."""
        code = self.process.wait()
        return 128 - code if code < 0 else code

    def describe_exit(self) -> str:
        code = self.process.wait()
        return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"

    def terminate(self) -> None:
        """Asks the process, not its children, to save and stop: once, since a second signal would
        end it at once.
        """
        if not self._terminated and self.is_alive:
            self._terminated = True
            self.process.terminate()

    def kill(self) -> None:
        """Ends the process and all that it started."""
        if self.is_alive:
            self._killed = True
            self._kill_group()

    def close(self) -> None:
        """Ends all and waits for it."""
        self.kill()
        self.process.wait()
        for pipe in self.outputs:
            pipe.close()

    def _kill_group(self) -> None:
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # nobody is left; macOS says the second
            os.killpg(self.process.pid, signal.SIGKILL)
