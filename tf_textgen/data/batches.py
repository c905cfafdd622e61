"""A batch as arrays, and the sequence of batches as a `tf.data.Dataset`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

_PREFETCHED = 4


class Field(NamedTuple):
    """The name, dtype and row shape of a feature.

    None in a shape is a size that differs between batches.
    """

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """One of equal parts of the rows of a batch: the rows of one replica.

    The content of a batch does not depend on the number of parts. If the rows do not divide evenly,
    the last parts are filled up with rows of weight 0.

    Attributes:
      index: which part, from 0.
      count: number of parts of a batch.
      multiple: the number of rows of a part is a multiple of this.
    """

    index: int = 0
    count: int = 1
    multiple: int = 1

    def rows(self, batch_rows: int) -> int:
        """Returns the number of rows of each part of a batch of `batch_rows`."""
        groups = -(-batch_rows // (self.count * self.multiple))
        return groups * self.multiple

    def of(self, batch_rows: int) -> range:
        """Returns the rows of the batch that are in this part, without the rows that fill it up."""
        rows = self.rows(batch_rows)
        first = min(self.index * rows, batch_rows)
        last = min((self.index + 1) * rows, batch_rows)
        return range(first, last)


WHOLE = Part()


@dataclasses.dataclass(frozen=True)
class Share:
    """The parts that one process makes: those of its own replicas.

    Attributes:
      first: the first replica of this process.
      local: number of replicas of this process.
      replicas: number of replicas of all processes.
      multiple: the number of rows of a part is a multiple of this.
    """

    first: int = 0
    local: int = 1
    replicas: int = 1
    multiple: int = 1

    def part(self, replica: int) -> Part:
        """Returns the part of a local replica, counted from 0."""
        return Part(self.first + replica, self.replicas, self.multiple)


ONE_PROCESS = Share()


class Batch(NamedTuple):
    """Arrays of a batch.

    Attributes:
      features: name -> array.
      labels: `[B, T]` integers.
      counted: `[B, T]` bool, the labels that have weight 1.
    """

    features: dict[str, np.ndarray]
    labels: np.ndarray
    counted: np.ndarray


class Plan(Protocol):
    """The content of every batch, as a pure function of seed and step.

    Any batch can therefore be made without the batches before it.

    Attributes:
      fields: the features; the labels have the shape of `target_tokens`.
      batch_rows: number of rows of a whole batch, or None if it differs between batches.
      steps_per_epoch: number of steps after which training has used every row at least once.
      evaluation_steps: number of batches of an evaluation.
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
    """Pads rows on the right, and pads their number.

    Args:
      rows: integers, each row of at most `length`.
      num_rows: number of rows of the result; the rows after those given contain only `value`.
      length: of each row of the result.
      value: of the padding.

    Returns:
      `[num_rows, length]` int32.
    """
    padded = np.full((num_rows, length), value, np.int32)
    if rows:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        present = np.arange(length) < lengths[:, None]
        padded[: len(rows)][present] = np.concatenate(rows)
    return padded


def make_dataset(
    places: tf.data.Dataset, batch_of: Callable[[int, Part], Batch], plan: Plan, share: Share
) -> tf.data.Dataset:
    """Maps places to the batches of replicas.

    NumPy code is called once for each batch and replica. Some batches are prefetched.

    Args:
      places: int64 scalars `step * share.local + replica`.
      batch_of: returns the part of the batch of a step.
      plan: gives the specification of the elements.
      share: the replicas of this process.

    Returns:
      A dataset of `(features, labels, weights)`.
    """
    fields = plan.fields
    names = [field.name for field in fields]
    dtypes = [tf.as_dtype(field.dtype) for field in fields] + [tf.int32, tf.float32]
    rows = None if plan.batch_rows is None else share.part(0).rows(plan.batch_rows)
    shapes = [(rows, *field.shape) for field in fields]
    label_shape = shapes[names.index("target_tokens")]
    shapes += [label_shape, label_shape]

    def arrays(place: np.ndarray) -> list[np.ndarray]:
        step, replica = divmod(int(place), share.local)
        batch = batch_of(step, share.part(replica))
        features = [np.asarray(batch.features[field.name], field.dtype) for field in fields]
        return [*features, batch.labels.astype(np.int32), batch.counted.astype(np.float32)]

    def element(place: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        tensors = tf.numpy_function(arrays, [place], dtypes, stateful=False)
        for index, shape in enumerate(shapes):
            tensors[index] = tf.ensure_shape(tensors[index], shape)
        *features, labels, weights = tensors
        return dict(zip(names, features, strict=True)), labels, weights

    return places.map(element).prefetch(_PREFETCHED * share.local)
