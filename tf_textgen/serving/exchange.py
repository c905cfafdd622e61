"""One request with what its handler needs: its body within the limit, the model it names, the answers of the graph."""

from __future__ import annotations

import asyncio
import dataclasses

from starlette.requests import Request

from tf_textgen.serving.json_tensors import Arrays
from tf_textgen.serving.monitoring import Monitoring, Record
from tf_textgen.serving.request_error import RequestError
from tf_textgen.serving.served_model import ServedModel, ServedVersion
from tf_textgen.serving.server_config import ServerConfig

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
        self.record.signature, self.record.version = signature, version.number
        self.record.rows += rows
        if not rows:  # a batch of none would wait for others in vain
            return version.loaded.run(signature, inputs)
        outputs = await asyncio.wrap_future(version.batcher.submit(signature, inputs))
        if signature in _GENERATING:
            self.record.tokens += int(outputs["token_count"].sum())
        if self.monitoring.log_texts and "text" in outputs:
            self.record.answers += [text.decode("utf-8", "replace") for text in outputs["text"].ravel()]
        return outputs


def _too_long(most: int) -> RequestError:
    return RequestError(413, f"the body is too long: expected at most {most} bytes (--max_body_bytes)")
