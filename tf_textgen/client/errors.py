"""The errors of a client: one line each with the value, the expectation and the remedy.

Standard library only.
"""

from __future__ import annotations

import math
import re
from time import monotonic


class ServingError(Exception):
    """Base of all errors of a client.

    Attributes:
      may_retry: whether the server has done nothing yet and the same request may succeed a moment
        later.
      retry_after_s: the seconds that the server asked to wait before that.
    """

    def __init__(
        self, message: str, *, may_retry: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.may_retry = may_retry
        self.retry_after_s = retry_after_s


class ServerUnavailable(ServingError):
    """Nothing answers there, or the connection broke."""


class DeadlineExceeded(ServingError):
    """No answer in the time that was given."""


class ModelNotFound(ServingError):
    """The server has no such model or version, or has not loaded it yet."""


class StreamInterrupted(ModelNotFound):
    """The version that began a stream is no longer served, and another would continue otherwise.

    Attributes:
      text: the part of the text that was received.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class Overloaded(ServingError):
    """The server has no room for the request now."""


class ServerError(ServingError):
    """The server failed, or its answer cannot be read."""


class InvalidRequest(ServingError):
    """The server refuses the request, or the client does not send it.

    Attributes:
      parameter: the decoding parameter that is wrong, if it is one.
      may_retry: whether the fault is in another request of the same batch.
    """

    def __init__(
        self, message: str, *, parameter: str | None = None, may_retry: bool = False
    ) -> None:
        super().__init__(message, may_retry=may_retry)
        self.parameter = parameter


class TooManyRows(InvalidRequest):
    """The request has more rows than the server takes at once.

    Attributes:
      most_rows: the number that it takes.
    """

    def __init__(self, message: str, *, most_rows: int) -> None:
        super().__init__(message)
        self.most_rows = most_rows


class Deadline:
    """The end of a call with all its attempts.

    Args:
      timeout_s: from now, in seconds.
      where: the address and the model, for the message.
    """

    def __init__(self, timeout_s: float, where: str) -> None:
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise InvalidRequest(
                f"timeout_s={timeout_s}: expected a finite number of seconds above 0"
            )
        self._timeout_s = timeout_s
        self._where = where
        self._end = monotonic() + timeout_s

    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self._end - monotonic())

    def remaining(self) -> float:
        """The seconds that are left; raises `DeadlineExceeded` if there are none."""
        if (left := self.left()) > 0.0:
            return left
        raise self.exceeded()

    def exceeded(self) -> DeadlineExceeded:
        """Returns the error for this deadline."""
        advice = "expected one in time: give a larger timeout_s, or ask for fewer tokens or texts"
        return DeadlineExceeded(f"{self._where}: no answer within {self._timeout_s:g} s; {advice}")


_INVALID = (
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
)
# The words of TensorFlow Serving and of the local server.
_TOO_MANY_ROWS = re.compile(
    r"larger than maximum input batch size (\d+)|rows came: expected at most (\d+)"
)
_MERGED = "different shapes and padding is turned off"


def error_of(code: str, message: str, where: str, *, retry_after_s: float = 0.0) -> ServingError:
    """The error for an answer with a status other than OK.

    Args:
      code: gRPC's name of the kind of error, which is TensorFlow Serving's own.
      message: the server's words.
      where: the address and the model.
      retry_after_s: the seconds that the server asks to wait.
    """
    said = f"{code}: {message}" if message else code
    if code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        advice = "expected room for the request: ask again later, or for less at once"
        # gRPC's server says so of its threads before it reads a request. Out of memory is final.
        may_retry = code == "UNAVAILABLE" or "threadpool exhausted" in message.lower()
        return Overloaded(
            f"{where}: the server is overloaded ({said}); {advice}",
            may_retry=may_retry,
            retry_after_s=retry_after_s,
        )
    if code == "NOT_FOUND":
        advice = (
            "expected a model that it serves: check name and version, or wait until it is loaded"
        )
        return ModelNotFound(f"{where}: the server has no such model ({said}); {advice}")
    if code == "DEADLINE_EXCEEDED":
        advice = (
            "expected an answer in its time: ask for fewer tokens or texts, or raise the "
            "server's timeout"
        )
        return DeadlineExceeded(f"{where}: the server gave up ({said}); {advice}")
    if code in _INVALID:
        refused = f"{where}: the server refused the request ({said})"
        too_many = _TOO_MANY_ROWS.search(message)
        if too_many:
            return TooManyRows(
                f"{refused}; expected fewer rows: send fewer texts or samples, or set "
                "enable_large_batch_splitting, max_execution_batch_size and a larger "
                "max_batch_size in the server's batching_parameters.txt",
                most_rows=int(too_many[1] or too_many[2]),
            )
        if _MERGED in message:
            return InvalidRequest(
                f"{refused}; expected inputs of one rank from all clients: another client's "
                "request was in the same batch, look for the one that nests its inputs",
                may_retry=True,
            )
        advice = "expected a request as the model's signature asks for: change what it names"
        return InvalidRequest(f"{refused}; {advice}")
    return ServerError(
        f"{where}: the server failed ({said}); expected an answer: look into the server's log"
    )
