"""Repeats and splits requests if a server asks for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from time import sleep
from typing import Any, TypeVar

from tf_textgen.client.errors import (
    Deadline,
    InvalidRequest,
    Overloaded,
    ServerUnavailable,
    TooManyRows,
)
from tf_textgen.client.results import (
    ModelMetadata,
    Signature,
    VersionStatus,
    check_answer,
    joined,
)
from tf_textgen.client.transport import Transport

ResultT = TypeVar("ResultT")
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class RepeatingTransport:
    """A `Transport` whose requests are those of another, repeated and split.

    A request does not depend on the server's state, so that repeating it does no harm.

    Args:
      transport: makes one attempt for each call.
      retries: attempts after the first, if there is no connection or the server is unavailable.
    """

    def __init__(self, transport: Transport, retries: int) -> None:
        self._transport = transport
        self._retries = retries
        self.where = transport.where

    def predict(
        self,
        signature: Signature,
        inputs: Mapping[str, list[Any]],
        version: int | None,
        deadline: Deadline,
    ) -> Mapping[str, Any]:
        """The outputs for all rows, from several requests if the server takes no more at once."""
        rows = len(next(iter(inputs.values())))
        if rows == 0:
            raise InvalidRequest(
                f"{signature.name}: no rows came; expected at least one, since a server never "
                "answers a request without rows"
            )
        try:
            return self._repeated(
                lambda: self._transport.predict(signature, inputs, version, deadline), deadline
            )
        except TooManyRows as error:
            size = error.most_rows
            if not 1 <= size < rows:
                raise
        answers = []
        for start in range(0, rows, size):
            part = {name: values[start : start + size] for name, values in inputs.items()}
            answer = self.predict(signature, part, version, deadline)
            check_answer(answer, [*signature.outputs], min(size, rows - start), self.where)
            answers.append(answer)
        return joined(answers)

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """The signatures of the version that answers."""
        return self._repeated(lambda: self._transport.metadata(deadline), deadline)

    def status(self, deadline: Deadline) -> list[VersionStatus]:
        """The state of each version."""
        return self._repeated(lambda: self._transport.status(deadline), deadline)

    def close(self) -> None:
        """Ends all connections."""
        self._transport.close()

    def _repeated(self, attempt: Callable[[], ResultT], deadline: Deadline) -> ResultT:
        """`attempt` until it succeeds, may not be repeated, or the next pause would end after the
        deadline.
        """
        longest = _FIRST_PAUSE_S
        left = self._retries
        was_refused = False
        while True:
            try:
                return attempt()
            except InvalidRequest as error:
                if was_refused or not error.may_retry:
                    raise
                # The other request of the batch is most likely not in the next one.
                was_refused = True
                continue
            except (ServerUnavailable, Overloaded) as error:
                # Half of the pause is random, so that the clients do not return all at once.
                pause = max(random.uniform(longest / 2, longest), error.retry_after_s)
                if not left or not error.may_retry or pause >= deadline.left():
                    raise
            sleep(pause)
            left -= 1
            longest = min(2 * longest, _LONGEST_PAUSE_S)
