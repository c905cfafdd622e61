"""An export behind a server that answers as TensorFlow Serving does."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2

from tests.support.fake_serving import FakeServing, tensor
from tf_textgen.export import self_check


def serving_of(loaded: Any) -> FakeServing:
    """A server of a SavedModel as `tf.saved_model.load` gives it."""
    signatures = {
        name: {
            "inputs": {
                spec.name: _shown(spec) for spec in signature.structured_input_signature[1].values()
            },
            "outputs": {key: _shown(spec) for key, spec in signature.structured_outputs.items()},
        }
        for name, signature in loaded.signatures.items()
    }
    return FakeServing(lambda name, inputs: self_check.ask(loaded, name, inputs), signatures)


def _shown(spec: tf.TensorSpec) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in spec.shape.as_list()]
    return tensor(types_pb2.DataType.Name(spec.dtype.as_datatype_enum), *sizes)
