"""The requests that TF Serving replays before a version becomes available.

The file is a TFRecord of `PredictionLog` messages, which are those of tensorflow-serving-api.
Importing them does not import gRPC.

Reference: https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

REQUESTS_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")


def write_requests(
    path: str | os.PathLike[str],
    model_name: str,
    requests: Iterable[tuple[str, Mapping[str, np.ndarray]]],
) -> None:
    """Writes requests to a new file.

    Args:
      path: of the file; TF Serving looks for `NAME/VERSION/` and `REQUESTS_FILE`.
      model_name: under which the model is served.
      requests: a signature's name and its inputs each.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature_name, inputs in requests:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature_name
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            # The order of a map's entries would differ from file to file.
            writer.write(log.SerializeToString(deterministic=True))


def read_requests(path: str | os.PathLike[str]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The requests of a file, as `write_requests` takes them."""
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec.signature_name, inputs
