"""One request with what its handler needs: its body within the limit, the model it names, the
answers of the graph.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request

from tf_textgen.server.json_tensors import Arrays
from tf_textgen.server.monitoring import Monitoring, Record
from tf_textgen.server.request_error import RequestError
from tf_textgen.server.served_model import ServedModel, ServedVersion
from tf_textgen.server.server_config import ServerConfig

_CLIENT_CLOSED = 499  # nobody reads this answer; the log and the metrics do
_GENERATING = ("generate", "beam_search")  # whose `token_count` is of new tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request, and the server it came to."""

    request: Request
    record: Record
    model: ServedModel
    config: ServerConfig
    monitoring: Monitoring

    async def body(self) -> bytes:
        """All of the body; raises `RequestError` 413 as soon as it is known to be too long."""
        most = self.config.max_body_bytes
        announced = self.request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            raise _too_long(most)
        read = bytearray()
        async for part in self.request.stream():
            read += part
            if len(read) > most:
                raise _too_long(most)
        if self.monitoring.log_texts:
            self.record.body = bytes(read)
        return bytes(read)

    async def ask(self, version: ServedVersion, signature: str, inputs: Arrays) -> Arrays:
        """Rows answered by the graph, together with those of others."""
        rows = len(next(iter(inputs.values())))
        self.record.signature = signature
        self.record.version = version.number
        self.record.rows += rows
        outputs = await asyncio.wrap_future(version.batcher.submit(signature, inputs))
        if signature in _GENERATING:
            self.record.tokens += int(outputs["token_count"].sum())
        self.log_answers(
            outputs["text"].ravel().tolist() if "text" in outputs and "state" not in outputs else []
        )
        return outputs

    def log_answers(self, texts: Sequence[bytes]) -> None:
        """Notes what was answered, where texts are logged."""
        if self.monitoring.log_texts:
            self.record.answers += [text.decode("utf-8", "replace") for text in texts]

    def refusal(self, error: Exception) -> RequestError:
        """Returns the answer to the client for an error."""
        # Two classes before Python 3.11.
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            error = RequestError(
                504, f"no answer within {self.config.deadline_s:g} seconds (--deadline_s)"
            )
        elif isinstance(error, ClientDisconnect):
            error = RequestError(_CLIENT_CLOSED, "the client went away")
        elif not isinstance(error, RequestError):  # a bug, which is for the log
            self.monitoring.note(
                f"{self.record.route}: unexpected {type(error).__name__}: {str(error)[:300]}"
            )
            error = RequestError(500, "internal error; the server's log says more")
        self.record.error = error.message
        return error


def _too_long(most: int) -> RequestError:
    return RequestError(
        413, f"the body is too long: expected at most {most} bytes (--max_body_bytes)"
    )
