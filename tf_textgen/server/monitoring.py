"""Metrics and the access log of the server."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

# Time stamps of the creation of each series, which nobody reads.
prometheus_client.disable_created_metrics()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_SHOWN = 200  # characters of a path in the log


@dataclasses.dataclass(kw_only=True)
class Record:
    """One request, filled in while it is answered.

    Attributes:
      route: the path of the server that answers. Metrics have it as a label, since made-up paths
        must not create metrics.
    """

    method: str
    path: str
    client: str
    route: str = "other"
    signature: str = ""
    version: int | None = None
    rows: int = 0
    tokens: int = 0
    code: int = 0
    error: str = ""
    body: bytes = b""
    answers: list[str] = dataclasses.field(default_factory=list)
    start: float = dataclasses.field(default_factory=time.perf_counter)


class _ServerState(Collector):
    """Gauges that are looked up whenever metrics are read."""

    def __init__(
        self, queued_rows: Callable[[], int], versions: Callable[[], Mapping[str, int]]
    ) -> None:
        self._queued_rows = queued_rows
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("tf_textgen_queue_rows", "Rows that wait.", self._queued_rows())
        version = GaugeMetricFamily(
            "tf_textgen_model_version", "The version that answers.", labels=["model"]
        )
        for model, number in self._versions().items():
            version.add_metric([model], number)
        yield version


class Monitoring:
    """Metrics of one server, and its access log.

    Args:
      log: receives one line per request.
      log_texts: whether the lines contain bodies and answers.
      queued_rows: returns the number of waiting rows, whenever metrics are read.
      versions: returns model -> its version, whenever metrics are read.
    """

    def __init__(
        self,
        log: IO[str],
        *,
        log_texts: bool,
        queued_rows: Callable[[], int],
        versions: Callable[[], Mapping[str, int]],
    ) -> None:
        self._log = log
        self.log_texts = log_texts
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tf_textgen_requests",
            "Requests answered.",
            ("path", "signature", "code"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tf_textgen_request_duration_seconds",
            "Time from the head of a request to the end of its answer.",
            ("path", "signature"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "tf_textgen_batch_rows",
            "Rows of each run of the graph.",
            ("signature",),
            buckets=_ROWS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "tf_textgen_generated_tokens",
            "New tokens in answers.",
            ("signature",),
            registry=self._registry,
        )
        self._registry.register(_ServerState(queued_rows, versions))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Returns all metrics in a format that a scraper accepts, and its content type.

        Args:
          accept: the header of its request.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def on_batch(self, signature: str, rows: int) -> None:
        """Records a run of the graph."""
        self._batches.labels(signature).observe(rows)

    def finish(self, record: Record) -> None:
        """Records a request that has its answer."""
        seconds = time.perf_counter() - record.start
        self._requests.labels(record.route, record.signature, str(record.code)).inc()
        self._seconds.labels(record.route, record.signature).observe(seconds)
        if record.tokens:
            self._tokens.labels(record.signature).inc(record.tokens)
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
        """Logs an event other than a request, such as a new version."""
        self._write(
            {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "message": message}
        )

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._log.flush()
