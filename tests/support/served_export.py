"""An export behind a server that answers as TensorFlow Serving does."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2

from tests.support.fake_serving import FakeServing, tensor
from tf_textgen.export.loaded_saved_model import LoadedSavedModel


def serving_of(loaded: LoadedSavedModel) -> FakeServing:
    """A server of a SavedModel."""
    signatures = {
        name: {
            "inputs": {spec.name: _shown(spec) for spec in loaded.inputs(name).values()},
            "outputs": {key: _shown(spec) for key, spec in loaded.outputs(name).items()},
        }
        for name in loaded.signatures
    }
    return FakeServing(loaded.answer, signatures)


def _shown(spec: tf.TensorSpec) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in spec.shape.as_list()]
    return tensor(types_pb2.DataType.Name(spec.dtype.as_datatype_enum), *sizes)
