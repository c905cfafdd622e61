"""One batch as arrays, and the stream of batches as a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

_PREFETCHED = 4


class Field(NamedTuple):
    """One feature: its name, type and shape (None where it differs between batches)."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


class Batch(NamedTuple):
    """Features by name, labels `[B, T]`, and which labels count `[B, T]` bool."""

    features: dict[str, np.ndarray]
    labels: np.ndarray
    counted: np.ndarray


class Plan(Protocol):
    """What stands in which batch: a pure function of the step (and the seed), so any step can be made alone.

    Attributes:
      fields: the features; the labels have the shape of `target_tokens`.
      steps_per_epoch: steps after which every row of training has come at least once.
      evaluation_steps: batches of an evaluation.
    """

    @property
    def fields(self) -> tuple[Field, ...]: ...

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def evaluation_steps(self) -> int: ...

    def training_batch(self, step: int, seed: int) -> Batch: ...

    def evaluation_batch(self, step: int) -> Batch: ...


def pad_rows(rows: Sequence[np.ndarray], num_rows: int, length: int, value: int) -> np.ndarray:
    """`[num_rows, length]` int32: the rows, right-padded with `value`, and rows of `value` alone."""
    padded = np.full((num_rows, length), value, np.int32)
    if rows:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        padded[: len(rows)][np.arange(length) < lengths[:, None]] = np.concatenate(rows)
    return padded


def make_dataset(steps: tf.data.Dataset, batch_of: Callable[[int], Batch], fields: Sequence[Field]) -> tf.data.Dataset:
    """Maps steps (scalars int64) to `(features, labels, weights)`: one call of NumPy code a batch, some made ahead."""
    types = [tf.as_dtype(field.dtype) for field in fields] + [tf.int32, tf.float32]
    shapes = [field.shape for field in fields]
    shapes += [shapes[[field.name for field in fields].index("target_tokens")]] * 2

    def arrays(step: np.ndarray) -> list[np.ndarray]:
        batch = batch_of(int(step))
        features = [np.asarray(batch.features[field.name], field.dtype) for field in fields]
        return [*features, batch.labels.astype(np.int32), batch.counted.astype(np.float32)]

    def element(step: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        tensors = tf.numpy_function(arrays, [step], types, stateful=False)
        tensors = [tf.ensure_shape(tensor, shape) for tensor, shape in zip(tensors, shapes, strict=True)]
        features = {field.name: tensor for field, tensor in zip(fields, tensors, strict=False)}
        return features, tensors[-2], tensors[-1]

    return steps.map(element).prefetch(_PREFETCHED)
