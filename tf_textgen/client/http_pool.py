"""HTTP connections that are kept open between requests, with a deadline over every byte.

Standard library only.
"""

from __future__ import annotations

import collections
import contextlib
import email.message
import functools
import http.client
import io
import re
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple

from tf_textgen.client.errors import (
    Deadline,
    InvalidRequest,
    ServerError,
    ServerUnavailable,
    ServingError,
)

MAX_RESPONSE_BYTES = (
    64 * 2**20
)  # a thousand texts of a thousand tokens with their log-probabilities
_PORTS = {"http": 80, "https": 443}
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/?#@\[\]]+):\d+")


class Address(NamedTuple):
    """`path` precedes every path of a request: a proxy in front of the server may need one."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_address(address: str) -> Address:
    """Reads `HOST:PORT`, `[IPv6]:PORT` or an `http://` or `https://` URL; raises `InvalidRequest`
    for all else.
    """
    try:
        if "://" not in address and not _HOST_AND_PORT.fullmatch(address):
            raise ValueError("neither HOST:PORT nor a URL")
        parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("no http or https URL")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("more than a host, a port and a path")
        parts.hostname.encode("idna")
        return Address(
            parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], parts.path.rstrip("/")
        )
    except ValueError as error:
        raise InvalidRequest(
            f"address {address!r}: {error}; expected HOST:PORT, like localhost:8501 or [::1]:8501, "
            "or an https:// URL"
        ) from None


class HttpAnswer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: email.message.Message
    body: bytes


class HttpPool:
    """Sends requests to one server, from any number of threads; each has a connection to itself
    while it lasts.

    A connection is kept for the next request. One that the server has closed meanwhile is opened
    again, once, unseen.
    The environment's proxies are not used: the server is in the same network. After a
      `fork`, make a new pool.

    Args:
      address: of the server.
      max_response_bytes: a longer answer is refused before it fills the memory.
      ssl_context: of https; None trusts the system's authorities.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_response_bytes: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._max_response_bytes = max_response_bytes
        self._ssl_context = None
        if address.scheme == "https":
            self._ssl_context = ssl_context or ssl.create_default_context()
        self._idle: collections.deque[_Connection] = (
            collections.deque()
        )  # its append and pop are atomic

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> HttpAnswer:
        """One request and its answer, whatever its status.

        Raises:
          ServerUnavailable: if there is no connection, or it broke (`may_retry`: before any
            answer came).
          DeadlineExceeded: at the deadline, however far the answer is.
          ServerError: if the answer is no HTTP, or longer than `max_response_bytes`.
        """
        kept = self._kept()
        try:
            return self._exchange(kept or self._new(), method, path, body, headers, deadline)
        except ServerUnavailable as error:
            if kept is None or not error.may_retry:
                raise
        self.close()  # the others that were kept are older still
        return self._exchange(self._new(), method, path, body, headers, deadline)

    def close(self) -> None:
        """Closes the connections that no request is using; a later request opens a new one."""
        while (connection := self._kept()) is not None:
            connection.close()

    def _kept(self) -> _Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _new(self) -> _Connection:
        return _Connection(self._address.host, self._address.port, self._ssl_context)

    def _exchange(
        self,
        connection: _Connection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> HttpAnswer:
        answered = False
        try:
            connection.begin(deadline)
            # A server that refuses a long body answers before it has read all of it, and closes.
            with contextlib.suppress(BrokenPipeError):
                connection.request(
                    method, self._address.path + path, body=body, headers=dict(headers)
                )
            response = connection.getresponse()
            answered = True
            answer = HttpAnswer(response.status, response.headers, self._read(response))
        except BaseException as error:
            connection.close()
            if isinstance(error, (OSError, http.client.HTTPException)):
                raise self._told(error, deadline, answered) from error
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        most = self._max_response_bytes
        length = response.length
        if length is None:
            body = response.read(most + 1)
            length = len(body)
        elif length <= most:
            body = response.read()  # with a number, a body that breaks off would go unnoticed
        if length > most:
            raise ServerError(
                f"{self._address}: the answer is longer than {most} bytes; expected at most "
                "max_response_bytes: ask for less at once, or allow more"
            )
        return body

    def _told(self, error: Exception, deadline: Deadline, answered: bool) -> ServingError:
        if isinstance(error, TimeoutError):
            return deadline.exceeded()
        came = str(error) or type(error).__name__
        if answered:
            advice = "expected a whole answer: ask again, or look into the server's log"
            return ServerUnavailable(
                f"{self._address}: the connection broke in the middle of the answer ({came}); "
                f"{advice}"
            )
        if isinstance(error, OSError):
            advice = "expected a server there: start it, or check host and port"
            may_retry = isinstance(error, ConnectionError)
            return ServerUnavailable(
                f"{self._address}: no connection ({came}); {advice}", may_retry=may_retry
            )
        return ServerError(
            f"{self._address}: the answer is no HTTP ({came}); expected the port of the server's "
            "REST API (8501 by default, where 8500 is gRPC)"
        )


class _Connection(http.client.HTTPConnection):
    """A connection whose every wait ends at the deadline of the request it serves."""

    def __init__(self, host: str, port: int, ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._ssl_context = ssl_context
        self.default_port = _PORTS["https" if ssl_context else "http"]

    def begin(self, deadline: Deadline) -> None:
        """Sets the deadline of the next request."""
        self._deadline = deadline
        self.response_class = functools.partial(_Response, deadline=deadline)  # type: ignore[assignment]
        if self.sock is not None:
            self.sock.settimeout(deadline.remaining())

    def connect(self) -> None:
        """Tries the host's addresses in turn, each for its share of the time that is left."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._deadline.remaining() / (len(found) - number))
                sock.connect(address)
                self.sock = self._secured(sock)
                return
            except BaseException as error:
                sock.close()
                if number == len(found) - 1 or not isinstance(error, OSError):
                    raise

    def _secured(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(self._deadline.remaining())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body go out at once
        return (
            self._ssl_context.wrap_socket(sock, server_hostname=self.host)
            if self._ssl_context
            else sock
        )


class _Response(http.client.HTTPResponse):
    """An answer that is read until a deadline, also if its bytes drip."""

    def __init__(self, sock: socket.socket, *, deadline: Deadline, **others: Any) -> None:
        super().__init__(sock, **others)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, deadline))


class _TimedReader(io.RawIOBase):
    """The bytes of a socket, whose own timeout would begin again with each of them."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
