"""The job `serve` as a process, and what it says of bad input."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.server.served import DEADLINE_S, Client, until
from tests.server.toy_export import write_toy
from tf_textgen.errors import UserError
from tf_textgen.jobs import main
from tf_textgen.server.server import LocalServer
from tf_textgen.server.server_config import ServerConfig


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy") / "toy"
    root.mkdir()
    write_toy(root, 1)
    return root


def test_a_request_is_finished_after_sigterm(toy):
    # A row waits long for others to join it: there is a request to finish, however slow the machine
    # is.
    flags = [f"--saved_model={toy}", "--port=0", "--batch_timeout_ms=2000"]
    command = [sys.executable, "-m", "tf_textgen", "serve", *flags]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        subprocess.Popen(command, text=True, env=environment, **pipes) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        first = process.stdout.readline()
        assert first.startswith("version 1 of toy answers; a page to try it: http://127.0.0.1:")
        url, found = first.rsplit(" ", 1)[1].strip(), []
        asker, watcher = (stack.enter_context(contextlib.closing(Client(url))) for _ in range(2))
        body = {"instances": ["x"]}
        thread = threading.Thread(
            target=lambda: found.append(asker.post("/v1/models/toy:predict", body))
        )
        thread.start()
        until(lambda: "tf_textgen_queue_rows 1.0\n" in watcher.get("/metrics").text)
        process.send_signal(signal.SIGTERM)
        thread.join(DEADLINE_S)
        assert found[0].json == {"predictions": ["xa"]}
        assert process.wait(DEADLINE_S) == 0
        assert "Traceback" not in process.stderr.read()
        with pytest.raises(OSError):
            watcher.get("/metrics")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--saved_model is missing: expected the folder of an export, as `export` wrote it"),
        (
            ["--saved_model=x", "--port=70000"],
            "--port=70000: expected a value at least 0 and at most 65535",
        ),
        (
            ["--saved_model=/nowhere", "--port=0"],
            "--saved_model=/nowhere: no export there; expected NAME or NAME/VERSION",
        ),
        (
            ["--saved_model=x", "--host=256.0.0.1"],
            "--host=256.0.0.1 --port=8501: cannot listen there",
        ),
        (["--saved_model=x", "--host=..a"], "--host=..a --port=8501: cannot listen there"),
    ],
)
def test_bad_flags_are_told(flags, message, capsys):
    assert main(["serve", *flags]) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_a_port_in_use_is_told(toy, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", f"--saved_model={toy}", f"--port={port}"]) == 2
    said = capsys.readouterr().err
    assert (
        f"error: --host=127.0.0.1 --port={port}: cannot listen there (Address already in use); "
        "expected" in said
    )


def test_a_port_taken_while_the_model_was_loaded_is_told(toy):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        server = LocalServer(str(toy), ServerConfig(port=port))
        other.listen()
        with pytest.raises(
            UserError,
            match=f"--port={port}: cannot listen there .Address already in use.; expected",
        ):
            server.serve()


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_package_is_told(toy, capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve", f"--saved_model={toy}"]) == 2
    said = capsys.readouterr().err
    assert said.strip() == (
        f"error: serve needs the package {package}, which is not installed; pip install "
        "'tf_textgen[serve]'"
    )
