"""`tensorflow_model_server` as a process, if there is one."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

from tf_textgen.client.rest_client import Client, DeadlineExceeded
from tf_textgen.export.server_files import BATCHING_FILE

NAME, VARIABLE = "tensorflow_model_server", "TENSORFLOW_MODEL_SERVER"
START_S, STOP_S = 300, 60
_SHOWN = 10_000  # characters of the output's end


class Addresses(NamedTuple):
    rest: str
    grpc: str


def find() -> str | None:
    """The program that the variable names, or that is on PATH."""
    return os.environ.get(VARIABLE) or shutil.which(NAME)


@contextlib.contextmanager
def running(
    executable: str, name: str, root: pathlib.Path, log: pathlib.Path
) -> Iterator[Addresses]:
    """A server of the model in `root`, AVAILABLE under `name`; ended behind the block.

    Args:
      executable: the program.
      name: of the model.
      root: the folder of its versions, with the parameters of batching that `export` wrote.
      log: takes its output, which is shown if it ends too early.
    """
    rest, grpc = _free_ports(2)
    flags = [
        f"--rest_api_port={rest}",
        f"--port={grpc}",
        f"--model_name={name}",
        f"--model_base_path={root}",
    ]
    flags += ["--enable_batching", f"--batching_parameters_file={root / BATCHING_FILE}"]
    with log.open("wb") as output:
        process = subprocess.Popen([executable, *flags], stdout=output, stderr=subprocess.STDOUT)
    try:
        with Client(f"127.0.0.1:{rest}", name) as client:
            _wait(process, client, log)
        yield Addresses(f"127.0.0.1:{rest}", f"127.0.0.1:{grpc}")
        assert process.poll() is None, _told(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


def _wait(process: subprocess.Popen, client: Client, log: pathlib.Path) -> None:
    end = time.monotonic() + START_S
    while True:
        assert process.poll() is None, _told(process, log)
        try:
            return client.wait_until_ready(1.0)
        except DeadlineExceeded as error:
            assert time.monotonic() < end, f"{error}; {_told(process, log)}"


def _told(process: subprocess.Popen, log: pathlib.Path) -> str:
    ended = f"ended with {process.returncode}" if process.returncode is not None else "goes on"
    return f"{NAME} {ended} and wrote:\n{log.read_text('utf-8', 'replace')[-_SHOWN:]}"
