"""Counters, gauges and histograms in Prometheus' text format.

A server has about ten of them, and the format is a few lines; a package for it would be the larger
part.

Reference: Prometheus, Exposition formats, text-based format 0.0.4.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
Labels = tuple[str, ...]


class Counter:
    """A number that grows, for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help
        self._labels = tuple(labels)
        self._values: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, amount: float = 1) -> None:
        """Counts `amount` more."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + amount

    def samples(self) -> Iterator[str]:
        """A line a combination of labels."""
        with self._lock:
            values = sorted(self._values.items())
        for labels, value in values:
            yield f"{self.name}{_shown(self._labels, labels)} {value}"


class Gauge:
    """A number that is looked up when it is asked for.

    Args:
      read: labels -> value, now.
    """

    kind = "gauge"

    def __init__(
        self, name: str, help: str, labels: Sequence[str], read: Callable[[], dict[Labels, float]]
    ) -> None:
        self.name = name
        self.help = help
        self._labels = tuple(labels)
        self._read = read

    def samples(self) -> Iterator[str]:
        """A line a combination of labels."""
        for labels, value in sorted(self._read().items()):
            yield f"{self.name}{_shown(self._labels, labels)} {value}"


class Histogram:
    """How often values lie below bounds, for each combination of labels."""

    kind = "histogram"

    def __init__(
        self, name: str, help: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self.name = name
        self.help = help
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, *labels: str, value: float) -> None:
        """Counts one value."""
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
            counts[bisect.bisect_left(self._bounds, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def samples(self) -> Iterator[str]:
        """The cumulative counts of each combination of labels, then its sum and count."""
        with self._lock:
            found = [
                (labels, list(counts), self._sums[labels])
                for labels, counts in sorted(self._counts.items())
            ]
        names = (*self._labels, "le")
        for labels, counts, total in found:
            below = 0
            for bound, count in zip(
                [*(f"{bound:g}" for bound in self._bounds), "+Inf"], counts, strict=True
            ):
                below += count
                yield f"{self.name}_bucket{_shown(names, (*labels, bound))} {below}"
            yield f"{self.name}_sum{_shown(self._labels, labels)} {total}"
            yield f"{self.name}_count{_shown(self._labels, labels)} {below}"


def exposition(metrics: Sequence[Counter | Gauge | Histogram]) -> str:
    """The text that Prometheus reads."""
    lines = []
    for metric in metrics:
        lines += [
            f"# HELP {metric.name} {metric.help}",
            f"# TYPE {metric.name} {metric.kind}",
            *metric.samples(),
        ]
    return "\n".join(lines) + "\n"


def _shown(names: Sequence[str], values: Labels) -> str:
    pairs = [
        f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True)
    ]
    return f"{{{','.join(pairs)}}}" if pairs else ""
