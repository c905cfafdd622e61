"""The warm-up of a version before it answers requests."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tf_textgen.export.prediction_log import REQUESTS_FILE, read_requests
from tf_textgen.server.json_tensors import DEFAULT_SIGNATURE, Arrays, Specs


def warmup_requests(
    folder: pathlib.Path, signature_names: Sequence[str], inputs_of: Callable[[str], Specs]
) -> Iterator[tuple[str, Arrays]]:
    """The records of a version, or one row of neutral values for each signature if it has none.

    Args:
      folder: the version's.
      signature_names: the signatures there are.
      inputs_of: a signature's name -> its inputs.

    Yields:
      A signature's name and its inputs.
    """
    records = folder / REQUESTS_FILE
    if not records.is_file():
        for name in signature_names:
            yield name, {key: _neutral(spec) for key, spec in inputs_of(name).items()}
        return
    for name, inputs in read_requests(records):
        yield name or DEFAULT_SIGNATURE, inputs


def _neutral(spec: tf.TensorSpec) -> np.ndarray:
    """One row of zeros or of an empty text; a free dimension behind the first has one place."""
    shape = [1 if size is None else size for size in spec.shape]
    return (
        np.full(shape, b"", object)
        if spec.dtype == tf.string
        else np.zeros(shape, spec.dtype.as_numpy_dtype)
    )
