"""What a version is asked before others may ask it.

`assets.extra/tf_serving_warmup_requests` is a TFRecord of TF Serving's `PredictionLog`. Its messages are declared here
as far as they are read, so that a server needs no further package for them.

Reference: TensorFlow Serving, SavedModel warmup; tensorflow_serving/apis/{prediction_log,predict,model}.proto.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

from tf_textgen.serving.json_tensors import DEFAULT_SIGNATURE, Arrays, Specs

RECORDS_FILE = pathlib.Path("assets.extra") / "tf_serving_warmup_requests"
_PACKAGE = "tf_textgen.warmup"
# message -> field -> (number, type); a type without a dot that is not "string" is a message of these.
_FIELDS = {
    "ModelSpec": {"signature_name": (3, "string")},
    "Input": {"key": (1, "string"), "value": (2, "tensorflow.TensorProto")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "Input")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def warmup_requests(
    folder: pathlib.Path, signature_names: Sequence[str], inputs_of: Callable[[str], Specs]
) -> Iterator[tuple[str, Arrays]]:
    """The records of a version, or one row of neutral values for each signature where it has none.

    Args:
      folder: the version's.
      signature_names: the signatures there are.
      inputs_of: a signature's name -> its inputs.

    Yields:
      A signature's name and its inputs.
    """
    records = folder / RECORDS_FILE
    if not records.is_file():
        for name in signature_names:
            yield name, {key: _neutral(spec) for key, spec in inputs_of(name).items()}
        return
    kind = _prediction_log()
    for record in tf.data.TFRecordDataset(str(records)):
        request = kind.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        yield name, {one.key: tf.make_ndarray(one.value) for one in request.inputs}


def _neutral(spec: tf.TensorSpec) -> np.ndarray:
    """One row of zeros or of an empty text; a free dimension behind the first has one place."""
    shape = [1 if size is None else size for size in spec.shape]
    return np.full(shape, b"", object) if spec.dtype == tf.string else np.zeros(shape, spec.dtype.as_numpy_dtype)


@functools.cache
def _prediction_log() -> Any:
    """The class of TF Serving's message, with the fields that are read."""
    file = descriptor_pb2.FileDescriptorProto(name="tf_textgen/warmup.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(tensor_pb2.DESCRIPTOR.name)
    for message_name, fields in _FIELDS.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_REPEATED if kind == "Input" else field.LABEL_OPTIONAL
            field.type = field.TYPE_STRING if kind == "string" else field.TYPE_MESSAGE
            if kind != "string":
                field.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog"))
