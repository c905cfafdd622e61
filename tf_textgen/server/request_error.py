"""A request that is answered with an error."""

from __future__ import annotations

RETRY_AFTER_S = 1  # a batch takes about this long, and the queue is shorter after each


class RequestError(Exception):
    """Ends a request.

    Args:
      code: the HTTP status code.
      message: one line for the person who asked: what came and what was expected.
      parameter: the field of the request that is wrong, if it is one.
    """

    def __init__(self, code: int, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.parameter = parameter

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {"Retry-After": str(RETRY_AFTER_S)} if self.code == 503 else {}


def invalid(message: str, parameter: str | None = None) -> RequestError:
    """The request is at fault."""
    return RequestError(400, message, parameter)
