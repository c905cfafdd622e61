"""A program instead of `tensorflow_model_server`: when it is waited for, ended, and heard."""

import os
import sys

import pytest

from tests.server import model_server
from tf_textgen.client.rest_client import Client, ServerUnavailable

SERVER = f"""#!{sys.executable}
import http.server, sys
flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in sys.argv[1:])
print(*sys.argv[1:], flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        state = "AVAILABLE" if Handler.asked > 2 else "LOADING"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"model_version_status": [{{"version": "1", "state": "%s"}}]}}' % state.encode())
http.server.HTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Handler).serve_forever()
"""


@pytest.fixture
def program(tmp_path):
    def write(text):
        path = tmp_path / "program"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


def test_a_server_is_there_when_it_is_available_and_gone_behind_the_block(program, tmp_path):
    log = tmp_path / "log"
    with model_server.running(program(SERVER), "tales", tmp_path, log) as addresses:
        with Client(addresses.rest, "tales") as client:
            assert client.status()[0].state == "AVAILABLE"
        shown, *_ = log.read_text().splitlines()
    rest, grpc = (address.rpartition(":")[2] for address in addresses)
    assert shown.split() == [
        f"--rest_api_port={rest}", f"--port={grpc}", "--model_name=tales", f"--model_base_path={tmp_path}",
        "--enable_batching", f"--batching_parameters_file={tmp_path}/batching_parameters.txt",
    ]  # fmt: skip
    with Client(addresses.rest, "tales", retries=0) as client, pytest.raises(ServerUnavailable):
        client.status()


def test_the_output_of_a_server_that_ends_is_shown(program, tmp_path):
    log = tmp_path / "log"
    with (
        pytest.raises(
            AssertionError,
            match=r"tensorflow_model_server ended with 3 and wrote:\nbroken --rest_api_port=",
        ),
        model_server.running(
            program('#!/bin/sh\necho broken "$@"\nexit 3\n'), "tales", tmp_path, log
        ),
    ):
        pass


def test_the_variable_comes_before_the_path(program, tmp_path, monkeypatch):
    monkeypatch.delenv(model_server.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert model_server.find() is None
    path = tmp_path / model_server.NAME
    os.rename(program(""), path)
    assert model_server.find() == str(path)
    monkeypatch.setenv(model_server.VARIABLE, "/other")
    assert model_server.find() == "/other"
