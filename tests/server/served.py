"""A local server in a thread, and requests to it over a real socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.export import saved_model
from tf_textgen.server.server import LocalServer
from tf_textgen.server.server_config import ServerConfig

DEADLINE_S = 60


class Answer(NamedTuple):
    code: int
    json: Any
    headers: dict[str, str]
    text: str


class Client:
    """One connection, kept open; `ask` parses what is JSON."""

    def __init__(self, url: str) -> None:
        self.netloc = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self.netloc, timeout=DEADLINE_S)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body` as it is where it is bytes, and as JSON otherwise."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, sent, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        found = {name.lower(): value for name, value in response.headers.items()}
        is_json = found.get("content-type") == "application/json"
        return Answer(response.status, json.loads(text) if is_json else None, found, text)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def close(self) -> None:
        self._connection.close()


def export(
    folder: pathlib.Path, name: str, decoding: DecodingConfig, **overrides: Any
) -> pathlib.Path:
    """A version of a tiny model; what `export` checks in a fresh process is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *_: None)
        return saved_model.export_saved_model(
            tiny_models.generator(name, **overrides), folder, decoding=decoding
        )


@contextlib.contextmanager
def serving(path: pathlib.Path, **fields: Any) -> Iterator[LocalServer]:
    """A server at a free port, ended behind the block."""
    server = LocalServer(str(path), ServerConfig(port=0, **fields))
    ready = threading.Event()
    thread = threading.Thread(target=server.serve, args=[ready.set])
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        yield server
    finally:
        until(lambda: server._server.started)
        server.stop()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()


@contextlib.contextmanager
def asking(server: LocalServer) -> Iterator[Client]:
    client = Client(server.url)
    try:
        yield client
    finally:
        client.close()


def until(holds: Callable[[], Any]) -> Any:
    """What `holds` gives when it first gives something true."""
    end = time.monotonic() + DEADLINE_S
    while not (found := holds()):
        assert time.monotonic() < end, "the deadline has passed"
        time.sleep(0.005)
    return found
