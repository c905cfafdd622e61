"""The requests that TF Serving replays before a version becomes available: a TFRecord of its
`PredictionLog`.

The messages are declared here as far as they are used, so that neither an export nor a server needs
a further package for them. The wire format is that of
tensorflow_serving/apis/{prediction_log,predict,model}.proto.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

REQUESTS_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_PACKAGE = "tf_textgen.export"
# message -> field -> (number, type); a type with a capital is a message of these, "Input" an entry
# of a map.
_FIELDS = {
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "Input": {"key": (1, "string"), "value": (2, "tensorflow.TensorProto")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "Input")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def write_requests(
    path: str | os.PathLike[str],
    model_name: str,
    requests: Iterable[tuple[str, Mapping[str, np.ndarray]]],
) -> None:
    """Writes requests to a new file.

    Args:
      path: of the file, `NAME/VERSION/assets.extra/tf_serving_warmup_requests` where TF Serving is
        to find it.
      model_name: under which the model is served.
      requests: a signature's name and its inputs each.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature_name, inputs in requests:
            log = _prediction_log()()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature_name
            for name, values in inputs.items():
                request.inputs.add(key=name, value=tf.make_tensor_proto(values))
            writer.write(log.SerializeToString())


def read_requests(path: str | os.PathLike[str]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The requests of a file, as `write_requests` takes them."""
    for record in tf.data.TFRecordDataset(str(path)):
        request = _prediction_log().FromString(record.numpy()).predict_log.request
        yield (
            request.model_spec.signature_name,
            {one.key: tf.make_ndarray(one.value) for one in request.inputs},
        )


@functools.cache
def _prediction_log() -> Any:
    """The class of the message."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3"
    )
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
