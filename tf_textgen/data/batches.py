"""One batch as arrays, and the stream of batches as a `tf.data.Dataset`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

_PREFETCHED = 4


class Field(NamedTuple):
    """One feature: its name, type and the shape of one row (None where it differs between batches)."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """One of equal parts of a batch's rows, those of one replica: what a batch holds does not depend on their number.

    Where the rows do not divide, the last parts are filled with rows that have no weight.

    Attributes:
      index: which part, from 0.
      count: parts of a batch.
      multiple: a part has a multiple of so many rows.
    """

    index: int = 0
    count: int = 1
    multiple: int = 1

    def rows(self, batch_rows: int) -> int:
        """Rows of each part of a batch of `batch_rows`."""
        return -(-batch_rows // (self.count * self.multiple)) * self.multiple

    def of(self, batch_rows: int) -> range:
        """Which rows of the batch stand in this part, without those that fill it."""
        rows = self.rows(batch_rows)
        return range(min(self.index * rows, batch_rows), min((self.index + 1) * rows, batch_rows))


WHOLE = Part()


@dataclasses.dataclass(frozen=True)
class Share:
    """The parts that one process makes: those of its `local` replicas, beginning with replica `first` of `replicas`.

    Attributes:
      multiple: a part has a multiple of so many rows.
    """

    first: int = 0
    local: int = 1
    replicas: int = 1
    multiple: int = 1

    def part(self, replica: int) -> Part:
        """That of a local replica, counted from 0."""
        return Part(self.first + replica, self.replicas, self.multiple)


ALONE = Share()


class Batch(NamedTuple):
    """Features by name, labels `[B, T]`, and which labels count `[B, T]` bool."""

    features: dict[str, np.ndarray]
    labels: np.ndarray
    counted: np.ndarray


class Plan(Protocol):
    """What stands in which batch: a pure function of the step (and the seed), so any step can be made alone.

    Attributes:
      fields: the features; the labels have the shape of `target_tokens`.
      batch_rows: rows of a whole batch; None where batches differ.
      steps_per_epoch: steps after which every row of training has come at least once.
      evaluation_steps: batches of an evaluation.
    """

    @property
    def fields(self) -> tuple[Field, ...]: ...

    @property
    def batch_rows(self) -> int | None: ...

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def evaluation_steps(self) -> int: ...

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch: ...

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch: ...


def pad_rows(rows: Sequence[np.ndarray], num_rows: int, length: int, value: int) -> np.ndarray:
    """`[num_rows, length]` int32: the rows, right-padded with `value`, and rows of `value` alone."""
    padded = np.full((num_rows, length), value, np.int32)
    if rows:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        padded[: len(rows)][np.arange(length) < lengths[:, None]] = np.concatenate(rows)
    return padded


def make_dataset(
    places: tf.data.Dataset, batch_of: Callable[[int, Part], Batch], plan: Plan, share: Share
) -> tf.data.Dataset:
    """Maps `step * share.local + replica` (scalars int64) to that replica's `(features, labels, weights)`.

    One call of NumPy code a batch and replica, some made ahead.
    """
    fields = plan.fields
    names = [field.name for field in fields]
    types = [tf.as_dtype(field.dtype) for field in fields] + [tf.int32, tf.float32]
    rows = None if plan.batch_rows is None else share.part(0).rows(plan.batch_rows)
    shapes = [(rows, *field.shape) for field in fields]
    shapes += [shapes[names.index("target_tokens")]] * 2

    def arrays(place: np.ndarray) -> list[np.ndarray]:
        step, replica = divmod(int(place), share.local)
        batch = batch_of(step, share.part(replica))
        features = [np.asarray(batch.features[field.name], field.dtype) for field in fields]
        return [*features, batch.labels.astype(np.int32), batch.counted.astype(np.float32)]

    def element(place: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        tensors = tf.numpy_function(arrays, [place], types, stateful=False)
        tensors = [
            tf.ensure_shape(tensor, shape) for tensor, shape in zip(tensors, shapes, strict=True)
        ]
        return dict(zip(names, tensors, strict=False)), tensors[-2], tensors[-1]

    return places.map(element).prefetch(_PREFETCHED * share.local)
