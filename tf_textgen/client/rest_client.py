"""A client of a served model over REST. Does not import TensorFlow.

    with Client("localhost:8501", "quickstart") as client:
        client.wait_until_ready()
        for completion in client.generate(["Once upon a time"], temperature=0.8, stop=["\\n"]):
            print(completion.text)

It speaks TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest). It needs
urllib3 (`pip install 'tf_textgen[client]'`). If only the client is needed, `pip install --no-deps
tf_textgen` and `pip install urllib3` are enough.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import json
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from tf_textgen.client.errors import (
    Deadline,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ServerError,
    ServerUnavailable,
    ServingError,
    StreamInterrupted,
    TooManyRows,
    error_of,
)
from tf_textgen.client.http_pool import MAX_RESPONSE_BYTES, HttpAnswer, HttpPool, parse_address
from tf_textgen.client.results import (
    Completion,
    ModelMetadata,
    Signature,
    TensorInfo,
    TextEmbedding,
    TextScore,
    Tokens,
    VersionStatus,
    metadata_of,
    statuses_of,
)
from tf_textgen.client.text_client import TextClient, TextStream

__all__ = [
    "Client",
    "Completion",
    "DeadlineExceeded",
    "InvalidRequest",
    "ModelMetadata",
    "ModelNotFound",
    "Overloaded",
    "ServerError",
    "ServerUnavailable",
    "ServingError",
    "Signature",
    "StreamInterrupted",
    "TensorInfo",
    "TextEmbedding",
    "TextScore",
    "TextStream",
    "Tokens",
    "TooManyRows",
    "VersionStatus",
]
# The reverse of how TensorFlow Serving turns its kinds of errors into HTTP's.
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SAID_IN_BODY = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")


class Client(TextClient):
    """A client of a model served over REST, by TensorFlow Serving or by `serve`.

    Args:
      address: `HOST:PORT`, `[IPv6]:PORT`, or a URL with http or https. The environment's proxies
        are not used.
      model: its name on the server.
      version: None asks the newest that is loaded.
      timeout_s: seconds for a call with all its attempts; 60 write some hundred tokens on a CPU.
      retries: attempts after the first, if there is no connection or the server is UNAVAILABLE
        (503).
      headers: sent with each request: what a gateway asks for, say `{"Authorization": "Bearer
        ..."}`.
      ssl_context: of https; None trusts the system's authorities.
      max_response_bytes: a longer answer is refused.

    Raises:
      InvalidRequest: if an argument is none of these. No connection is made before the first
        call.
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        where = parse_address(address)
        pool = HttpPool(where, max_response_bytes=max_response_bytes, ssl_context=ssl_context)
        super().__init__(
            _Rest(pool, str(where), model, version, headers or {}),
            timeout_s=timeout_s,
            retries=retries,
        )


class _Rest:
    """A `Transport` over TensorFlow Serving's REST API."""

    def __init__(
        self,
        pool: HttpPool,
        address: str,
        model: str,
        version: int | None,
        headers: Mapping[str, str],
    ) -> None:
        self._pool = pool
        self._version = version
        self._path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
        self._headers = {
            **headers,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self.where = f"{address}{self._of_version(version)}"

    def predict(
        self,
        signature: Signature,
        inputs: Mapping[str, list[Any]],
        version: int | None,
        deadline: Deadline,
    ) -> Mapping[str, Any]:
        asked = {"signature_name": signature.name, "inputs": inputs}
        body = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
        path = self._of_version(self._version if version is None else version)
        outputs = self._asked("POST", f"{path}:predict", body, deadline, "outputs")
        if len(signature.outputs) == 1:  # comes without its name
            return dict.fromkeys(signature.outputs, outputs)
        if not isinstance(outputs, dict):
            raise self._unreadable("the outputs have no names")
        return outputs

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        path = f"{self._of_version(self._version)}/metadata"
        answer = self._asked("GET", path, None, deadline)
        try:
            return metadata_of(
                answer["model_spec"], answer["metadata"]["signature_def"]["signature_def"]
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(f"metadata without {error}") from error

    def status(self, deadline: Deadline) -> list[VersionStatus]:
        answer = self._asked("GET", self._of_version(self._version), None, deadline)
        try:
            return statuses_of(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(f"a status without {error}") from error

    def close(self) -> None:
        self._pool.close()

    def _of_version(self, version: int | None) -> str:
        return self._path if version is None else f"{self._path}/versions/{version}"

    def _asked(
        self, method: str, path: str, body: bytes | None, deadline: Deadline, key: str | None = None
    ) -> Any:
        """The JSON of the answer, or its value of `key`."""
        answer = self._pool.request(method, path, body, self._headers, deadline)
        if answer.status != 200:
            raise self._error(answer)
        try:
            found = _loads(answer.body)
            return found if key is None else found[key]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise self._unreadable(f"{error} in {answer.body[:80]!r}") from error

    def _unreadable(self, came: str) -> ServerError:
        return ServerError(
            f"{self.where}: the answer cannot be read ({came}); expected the JSON of TensorFlow "
            "Serving's REST API: check which server this is"
        )

    def _error(self, answer: HttpAnswer) -> ServingError:
        text = answer.body.decode("utf-8", "replace")
        # A proxy, say, answers in HTML.
        with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
            text = str(_loads(answer.body)["error"])
        code = "INVALID_ARGUMENT" if 400 <= answer.status < 500 else "INTERNAL"
        code = _CODES.get(answer.status, code)
        code = next(
            (one for one in _SAID_IN_BODY if code == "INTERNAL" and text.startswith(one)), code
        )
        retry_after_s = _seconds(answer.headers.get("Retry-After") or "")
        return error_of(
            code, f"HTTP {answer.status}, {text[:400]}", self.where, retry_after_s=retry_after_s
        )


def _loads(body: bytes) -> Any:
    """JSON with TensorFlow Serving's NaN and Infinity; what is not UTF-8 is replaced, `{"b64":
    ...}` decoded.
    """
    return json.loads(body.decode("utf-8", "replace"), object_hook=_text_of_base64)


def _text_of_base64(value: dict[str, Any]) -> Any:
    if value.keys() == {"b64"} and isinstance(value["b64"], str):
        return base64.b64decode(value["b64"], validate=True).decode("utf-8", "replace")
    return value


def _seconds(retry_after: str) -> float:
    """The header's number of seconds, or those until its date; 0 if it is neither."""
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
