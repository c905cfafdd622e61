"""An HTTP server that answers as TensorFlow Serving's REST API does, from a function, and fails
if it is reported to.

Its words and codes are those of `tensorflow_model_server`. Does not import TensorFlow.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import http.server
import json
import re
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Answer = Callable[[str, dict[str, list]], Mapping[str, Any]]
_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict")
_READ = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?")
_NOT_LOADED = "Servable not found for request: Latest({})"
_FITS = {
    "DT_STRING": lambda value: isinstance(value, str),
    "DT_FLOAT": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "DT_INT32": lambda value: type(value) is int and -(2**31) <= value < 2**31,
    "DT_INT64": lambda value: type(value) is int and -(2**63) <= value < 2**63,
}


class Refused(Exception):
    """An error that TensorFlow Serving answers with this HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeServing:
    """A server of one model on a free port of loopback.

    Args:
      answer: of a signature's name and its inputs by name: the outputs by name.
      signatures: as `/metadata` shows them.
      name: of the model.

    Attributes:
      faults: what happens to the next requests, one each, instead of an answer: a function of the
        request's handler.
      requests: `(method, path, headers, body)` of all that came.
      connections: how many were accepted.
      states: version -> its state.
      most_rows: more in a request are refused; None takes any number.
    """

    def __init__(
        self, answer: Answer, signatures: Mapping[str, Any], *, name: str = "model"
    ) -> None:
        self.answer, self.signatures, self.name = answer, signatures, name
        self.states: dict[int, str] = {1: "AVAILABLE"}
        self.faults: collections.deque[Callable[[Any], None]] = collections.deque()
        self.requests: list[tuple[str, str, Any, bytes]] = []
        self.connections = 0
        self.most_rows: int | None = None

    @contextlib.contextmanager
    def running(
        self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> Iterator[str]:
        """Its address, while it runs."""
        fake = self

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients of these tests go away in the middle."""

            def get_request(self) -> Any:
                sock, peer = super().get_request()
                fake.connections += 1
                return (context.wrap_socket(sock, server_side=True) if context else sock), peer

        class Handler(_Handler):
            serving = fake

        with Server((host, 0), Handler) as server:
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
            )
            thread.start()
            shown = f"[{host}]" if ":" in host else host
            yield f"{shown}:{server.server_address[1]}"
            server.shutdown()
            thread.join()

    def reply(self, method: str, path: str, body: bytes) -> Any:
        """The JSON of the answer; raises `Refused`."""
        if method == "POST" and (found := _PREDICT.fullmatch(path)):
            self.check_model(*found.groups())
            return self._predict(json.loads(body))
        if method == "GET" and (found := _READ.fullmatch(path)):
            *which, metadata = found.groups()
            missing = (
                "Servable not found for request: Latest({})"
                if metadata
                else "Could not find any versions of model {}"
            )
            self.check_model(*which, missing)
            return self._metadata(which[1]) if metadata else self.status(which[1])
        raise Refused(400, f"Malformed request: {method} {path}")

    def check_model(self, name: str, version: str | int | None, missing: str = _NOT_LOADED) -> None:
        """Raises `Refused` with the words `missing` if there is no such model or version."""
        name = urllib.parse.unquote(name)
        if name != self.name or (version and int(version) not in self.states):
            raise Refused(404, missing.format(name))

    def check_rows(self, inputs: Mapping[str, list]) -> None:
        """Raises `Refused` as TF Serving's batching does without splitting, and for no rows."""
        rows = len(next(iter(inputs.values())))
        if not rows:
            raise AssertionError("TF Serving never answers a request without rows")
        if self.most_rows is not None and rows > self.most_rows:
            raise Refused(
                400,
                f"Task size {rows} is larger than maximum input batch size {self.most_rows}",
            )

    def status(self, version: str | int | None) -> Any:
        """The JSON of `GetModelStatusResponse`."""
        shown = [int(version)] if version else sorted(self.states, reverse=True)
        ok = {"error_code": "OK", "error_message": ""}
        states = [{"version": str(one), "state": self.states[one], "status": ok} for one in shown]
        return {"model_version_status": states}

    def _metadata(self, version: str | None) -> Any:
        spec = {
            "name": self.name,
            "signature_name": "",
            "version": version or str(max(self.states)),
        }
        return {
            "model_spec": spec,
            "metadata": {"signature_def": {"signature_def": self.signatures}},
        }

    def _predict(self, request: dict[str, Any]) -> Any:
        name = request.get("signature_name", "serving_default")
        if name not in self.signatures:
            raise Refused(400, f'Serving signature name: "{name}" not found in signature def')
        inputs = {}
        for key, tensor in self.signatures[name]["inputs"].items():
            if key not in request["inputs"]:
                raise Refused(400, f"Missing named input: {key} in 'inputs' object.")
            inputs[key] = request["inputs"][key]
            for value in inputs[key]:
                if not _FITS[tensor["dtype"]](value):
                    kind = tensor["dtype"].removeprefix("DT_").lower()
                    raise Refused(
                        400, f"JSON Value: {value} Type: Number is not of expected type: {kind}"
                    )
        self.check_rows(inputs)
        outputs = dict(self.answer(name, inputs))
        outputs = {
            key: _base64(values) if key.endswith("_bytes") else values
            for key, values in outputs.items()
        }
        return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}


def _base64(values: Any) -> Any:
    if isinstance(values, list):
        return [_base64(value) for value in values]
    return {"b64": base64.b64encode(values.encode()).decode()}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    serving: FakeServing

    def log_message(self, *_: Any) -> None:
        """No lines among those of the tests."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.serving.requests.append((self.command, self.path, self.headers, body))
        if self.serving.faults:
            self.serving.faults.popleft()(self)
            return
        try:
            self.send(200, self.serving.reply(self.command, self.path, body))
        except Refused as error:
            self.send(error.status, {"error": str(error)})

    do_POST = do_GET

    def send(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Writes JSON as TensorFlow Serving does: indented, UTF-8 as it is, NaN and Infinity bare;
        or bytes.
        """
        body = (
            value
            if isinstance(value, bytes)
            else json.dumps(value, ensure_ascii=False, indent=4).encode()
        )
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def tensor(dtype: str, *sizes: int) -> dict[str, Any]:
    """One input or output as `/metadata` shows it; -1 is any size."""
    dims = [{"size": str(size), "name": ""} for size in sizes]
    return {"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": "x:0"}
