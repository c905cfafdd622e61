"""Metrics and the access log of the server."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import IO, Any

from tf_textgen.server.server_metrics import Counter, Gauge, Histogram, Labels, exposition

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_SHOWN = 200  # characters of a path in the log


@dataclasses.dataclass(kw_only=True)
class Record:
    """One request, filled in while it is answered."""

    method: str
    path: str
    client: str
    route: str = "other"  # which of the server's paths, for metrics: a path that was made up must not make a metric
    signature: str = ""
    version: int | None = None
    rows: int = 0
    tokens: int = 0
    code: int = 0
    error: str = ""
    body: bytes = b""
    answers: list[str] = dataclasses.field(default_factory=list)
    begun: float = dataclasses.field(default_factory=time.perf_counter)


class Monitoring:
    """Metrics of one server, and its access log.

    Args:
      log: if a line a request is written.
      log_texts: whether it has bodies and answers.
      queued_rows: asked when metrics are read.
      versions: the same: model -> its version.
    """

    def __init__(
        self,
        log: IO[str],
        *,
        log_texts: bool,
        queued_rows: Callable[[], int],
        versions: Callable[[], dict[Labels, float]],
    ) -> None:
        self._log = log
        self.log_texts = log_texts
        labels = ("path", "signature", "code")
        self._requests = Counter("tf_textgen_requests_total", "Requests answered.", labels)
        self._seconds = Histogram(
            "tf_textgen_request_duration_seconds", "Time from a request's head to the end of its "
                "answer.", labels[:2],
            _SECONDS,
        )  # fmt: skip
        self._batches = Histogram(
            "tf_textgen_batch_rows", "Rows of each run of the graph.", ("signature",), _ROWS
        )
        self._tokens = Counter(
            "tf_textgen_generated_tokens_total", "New tokens in answers.", ("signature",)
        )
        queue = Gauge("tf_textgen_queue_rows", "Rows that wait.", (), lambda: {(): queued_rows()})
        version = Gauge(
            "tf_textgen_model_version", "The version that answers.", ("model",), versions
        )
        self._all = (self._requests, self._seconds, self._batches, self._tokens, queue, version)

    def exposition(self) -> str:
        """All metrics as Prometheus reads them."""
        return exposition(self._all)

    def on_batch(self, signature: str, rows: int) -> None:
        """A run of the graph."""
        self._batches.observe(signature, value=rows)

    def finish(self, record: Record) -> None:
        """A request has its answer."""
        seconds = time.perf_counter() - record.begun
        self._requests.add(record.route, record.signature, str(record.code))
        self._seconds.observe(record.route, record.signature, value=seconds)
        if record.tokens:
            self._tokens.add(record.signature, amount=record.tokens)
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "client": record.client,
            "method": record.method,
            "path": record.path[:_SHOWN],
            "code": record.code,
            "duration_ms": round(seconds * 1000, 2),
        }
        known = {
            "signature": record.signature,
            "version": record.version,
            "rows": record.rows,
            "tokens": record.tokens,
        }
        line |= {name: value for name, value in known.items() if value}
        if self.log_texts:
            line |= {
                "body": record.body.decode("utf-8", "replace"),
                "answers": record.answers,
                "error": record.error,
            }
        self._write(line)

    def note(self, message: str) -> None:
        """Something that is no request: a version that came or went."""
        self._write(
            {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "message": message}
        )

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._log.flush()
