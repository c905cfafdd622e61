"""Requests over kept HTTP connections, with a deadline over every byte.

Uses urllib3. Does not import TensorFlow.
"""

from __future__ import annotations

import contextvars
import functools
import http.client
import io
import re
import socket
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tf_textgen.client.errors import (
    Deadline,
    InvalidRequest,
    ServerError,
    ServerUnavailable,
    ServingError,
)

try:
    import urllib3
    from urllib3 import connection, connectionpool, exceptions
except ImportError as error:
    raise ImportError(
        f"the client needs urllib3 ({error}): pip install 'tf_textgen[client]'"
    ) from error

# A thousand texts of a thousand tokens with their log-probabilities.
MAX_RESPONSE_BYTES = 64 * 2**20
# Connections that are kept; more may be open at once.
_KEPT_CONNECTIONS = 256
_PART_BYTES = 2**16
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
    headers: Mapping[str, str]
    body: bytes


class HttpPool:
    """Sends requests to one server, from any number of threads.

    A connection is kept for the next request. If the server has closed it in the meantime, the
    request is repeated once over a new one. The environment's proxies are not used: the server is
    in the same network. After a `fork`, make a new pool.

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
        self._ssl_context = ssl_context
        if address.scheme == "https" and ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        self._pool = self._new_pool()

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
        attempt = _Attempt(deadline)
        try:
            return self._exchange(attempt, method, path, body, headers)
        except ServerUnavailable as error:
            if attempt.is_new_connection or not error.may_retry:
                raise
        # The other kept connections are older still.
        self.close()
        return self._exchange(_Attempt(deadline), method, path, body, headers)

    def close(self) -> None:
        """Closes the connections that no request is using; a later request opens a new one."""
        pool = self._pool
        self._pool = self._new_pool()
        pool.close()

    def _new_pool(self) -> connectionpool.HTTPConnectionPool:
        host = self._address.host
        port = self._address.port
        if self._ssl_context is None:
            pool = connectionpool.HTTPConnectionPool(host, port, maxsize=_KEPT_CONNECTIONS)
            pool.ConnectionCls = _HttpConnection
            return pool
        secure_pool = connectionpool.HTTPSConnectionPool(
            host, port, maxsize=_KEPT_CONNECTIONS, ssl_context=self._ssl_context
        )
        secure_pool.ConnectionCls = _HttpsConnection
        return secure_pool

    def _exchange(
        self,
        attempt: _Attempt,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> HttpAnswer:
        deadline = attempt.deadline
        token = _ATTEMPT.set(attempt)
        response = None
        try:
            response = self._pool.urlopen(
                method,
                self._address.path + path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(total=deadline.remaining()),
                preload_content=False,
                decode_content=False,
            )
            content = b"".join(self._parts(response))
            return HttpAnswer(response.status, response.headers, content)
        except (exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            raise self._serving_error(error, deadline, response is not None) from error
        finally:
            _ATTEMPT.reset(token)
            if response is not None:
                _give_back(response)

    def _parts(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """The body; raises `ServerError` as soon as it is known to be too long."""
        most = self._max_response_bytes
        announced = response.headers.get("Content-Length", "")
        length = int(announced) if announced.isdecimal() else 0
        if length <= most:
            length = 0
            for part in response.stream(_PART_BYTES):
                length += len(part)
                if length > most:
                    break
                yield part
        if length > most:
            raise ServerError(
                f"{self._address}: the answer is longer than {most} bytes; expected at most "
                "max_response_bytes: ask for less at once, or allow more"
            )

    def _serving_error(self, error: Exception, deadline: Deadline, answered: bool) -> ServingError:
        cause = _cause(error)
        if isinstance(cause, (TimeoutError, exceptions.TimeoutError)):
            return deadline.exceeded()
        reason = str(cause) or type(cause).__name__
        if answered:
            return ServerUnavailable(
                f"{self._address}: the connection broke in the middle of the answer ({reason}); "
                "expected a whole answer: ask again, or look into the server's log"
            )
        if isinstance(cause, http.client.HTTPException) and not isinstance(cause, OSError):
            return ServerError(
                f"{self._address}: the answer is no HTTP ({reason}); expected the port of the "
                "server's REST API (8501 by default, where 8500 is gRPC)"
            )
        return ServerUnavailable(
            f"{self._address}: no connection ({reason}); expected a server there: start it, or "
            "check host and port",
            may_retry=isinstance(cause, ConnectionError),
        )


class _Attempt:
    """One attempt of a request: its deadline, and whether a connection was made for it."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.is_new_connection = False


# urllib3 has no deadline for a whole request, and gives its connections no argument of ours.
_ATTEMPT: contextvars.ContextVar[_Attempt] = contextvars.ContextVar("attempt")


class _DeadlineConnection(connection.HTTPConnection):
    """A connection whose every wait ends at the deadline of the request that it serves."""

    def connect(self) -> None:
        """Connects to the host's addresses in turn, each with its share of the time left."""
        attempt = _ATTEMPT.get()
        attempt.is_new_connection = True
        addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        self.timeout = attempt.deadline.remaining() / len(addresses)
        super().connect()

    def request(self, *args: Any, **options: Any) -> None:
        """Sends a request."""
        if self.sock is not None:
            self.sock.settimeout(_ATTEMPT.get().deadline.remaining())
        super().request(*args, **options)

    def getresponse(self) -> Any:
        """The answer, whose head has come."""
        deadline = _ATTEMPT.get().deadline
        self.response_class = functools.partial(_Response, deadline=deadline)  # type: ignore[assignment]
        return super().getresponse()


class _HttpConnection(_DeadlineConnection):
    """Over TCP."""


class _HttpsConnection(_DeadlineConnection, connection.HTTPSConnection):
    """Over TLS."""


class _Response(http.client.HTTPResponse):
    """An answer that is read until a deadline, also if its bytes drip."""

    def __init__(self, sock: socket.socket, *, deadline: Deadline, **others: Any) -> None:
        super().__init__(sock, **others)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, deadline))


class _TimedReader(io.RawIOBase):
    """The bytes of a socket, whose own timeout would restart with each of them."""

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


def _give_back(response: urllib3.BaseHTTPResponse) -> None:
    """Keeps the connection if the answer was read to its end, and closes it otherwise."""
    response.close()
    response.release_conn()


def _cause(error: Exception) -> BaseException:
    """The error of the system or of HTTP in an error of urllib3."""
    if isinstance(error, exceptions.ProtocolError) and len(error.args) > 1:
        found = error.args[1]
        if isinstance(found, Exception):
            return found
    if isinstance(error, (exceptions.NewConnectionError, exceptions.SSLError)):
        return error.__cause__ or error
    return error
