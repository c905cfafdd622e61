"""The local server as an ASGI application: paths, limits, and how errors are reported.

GET  /v1/models/NAME[/versions/N]                   status, in TF Serving's form, as the next two
GET  /v1/models/NAME[/versions/N]/metadata
POST /v1/models/NAME[/versions/N]:predict
GET  /metrics                                       in Prometheus' form
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tf_textgen.server import completions_api, predict_api
from tf_textgen.server.monitoring import Monitoring, Record
from tf_textgen.server.page import page
from tf_textgen.server.request_context import Exchange
from tf_textgen.server.request_error import RequestError, invalid
from tf_textgen.server.served_model import ServedModel
from tf_textgen.server.server_config import ServerConfig

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18}))?"


async def _metrics(exchange: Exchange) -> Response:
    accept = exchange.request.headers.get("accept", "")
    text, content_type = exchange.monitoring.exposition(accept)
    return Response(text, headers={"Content-Type": content_type})


class _Route(NamedTuple):
    name: str  # in the metrics
    method: str
    path: re.Pattern[str]
    handler: Callable[..., Awaitable[Response]]  # takes the exchange and the groups of the path
    error_body: Callable[[RequestError], Any] = predict_api.error_body


_ROUTES = (
    _Route("page", "GET", re.compile("/"), page),
    _Route("predict", "POST", re.compile(f"{_MODEL}:predict"), predict_api.predict),
    _Route("status", "GET", re.compile(_MODEL), predict_api.status),
    _Route("metadata", "GET", re.compile(f"{_MODEL}/metadata"), predict_api.metadata),
    _Route(
        "models",
        "GET",
        re.compile("/v1/models"),
        completions_api.models,
        completions_api.error_body,
    ),
    _Route(
        "completions",
        "POST",
        re.compile("/v1/completions"),
        completions_api.completions,
        completions_api.error_body,
    ),
    _Route("metrics", "GET", re.compile("/metrics"), _metrics),
)


class App:
    """Answers requests for one model.

    Args:
      model: what is served.
      config: the limits.
      monitoring: records each request.
    """

    def __init__(self, model: ServedModel, config: ServerConfig, monitoring: Monitoring) -> None:
        self._model = model
        self._config = config
        self._monitoring = monitoring
        self._hosts = _own_names(config.host)
        self._open = 0  # requests that the graph answers or will

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        request = Request(scope, receive)
        client = request.client.host if request.client else ""
        record = Record(method=request.method, path=scope["path"], client=client)
        costs = request.method == "POST"
        self._open += costs
        try:
            response = await self._respond(request, record)
            record.code = response.status_code
            with contextlib.suppress(ClientDisconnect):  # nobody is left to be reported
                await response(scope, receive, send)
        finally:
            self._open -= costs
            self._monitoring.finish(record)

    async def _respond(self, request: Request, record: Record) -> Response:
        error_body: Callable[[RequestError], Any] = predict_api.error_body
        exchange = Exchange(
            request=request,
            record=record,
            model=self._model,
            config=self._config,
            monitoring=self._monitoring,
        )
        try:
            self._check_host(request)
            route, found = _find(request.method, record.path)
            record.route = route.name
            error_body = route.error_body
            if self._open > self._config.max_requests:
                raise RequestError(
                    503,
                    f"overloaded: {self._config.max_requests} requests are open; try again later",
                )
            return await asyncio.wait_for(route.handler(exchange, **found), self._config.deadline_s)
        except Exception as error:
            refusal = exchange.refusal(error)
        return predict_api.json_response(error_body(refusal), refusal.code, refusal.headers)

    def _check_host(self, request: Request) -> None:
        """Keeps out the pages of other hosts, which had their name resolved to this machine or send
        forms to it.
        """
        if self._hosts is None:
            return
        host = request.headers.get("host", "")
        origin = request.headers.get("origin")
        if _split(f"//{host}")[0] not in self._hosts:
            raise RequestError(
                403, f"Host {host[:80]!r}: expected localhost; --host serves other machines"
            )
        if origin is not None and _split(origin)[1] != host:
            raise RequestError(403, f"Origin {origin[:80]!r}: expected a page of this server")


def _find(method: str, path: str) -> tuple[_Route, dict[str, str | None]]:
    for route in _ROUTES:
        found = route.path.fullmatch(path)
        if found and method == route.method:
            return route, found.groupdict()
    if path.startswith("/v1/"):
        raise invalid(f"Malformed request: {method} {path[:200]}")
    raise RequestError(404, f"Not found: {path[:200]}")


def _own_names(host: str) -> set[str] | None:
    """Returns the names by which requests may address this machine; None if any name is allowed."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    return {"localhost", "127.0.0.1", "::1", host} if is_loopback else None


def _split(url: str) -> tuple[str | None, str]:
    """The host's name, and with its port."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.netloc
    except ValueError:
        return None, ""
