"""A gRPC server that answers as TensorFlow Serving does, from what a `FakeServing` has."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import ParseDict
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.support.fake_serving import FakeServing, Refused

_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}
_DTYPES = {"DT_STRING": tf.string, "DT_FLOAT": tf.float32, "DT_INT32": tf.int32, "DT_BOOL": tf.bool}


class FakeGrpc:
    """Both services of a model.

    Attributes:
      faults: `(code, details)` of the errors that the next requests get, one each.
      specs: the model's name and version that each request asked for.
    """

    def __init__(self, serving: FakeServing) -> None:
        self.serving = serving
        self.faults: collections.deque[tuple[str, str]] = collections.deque()
        self.specs: list[tuple[str, int]] = []

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """Its address, while it runs."""
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()

    def Predict(self, request: Any, context: Any) -> Any:
        with self._refusing(request.model_spec, context):
            signature = self.serving.signatures[request.model_spec.signature_name]
            inputs = {}
            for name, tensor in request.inputs.items():
                array = tf.make_ndarray(tensor)
                array = np.frompyfunc(bytes.decode, 1, 1)(array) if array.dtype == object else array
                inputs[name] = array.tolist()
            if missing := signature["inputs"].keys() - inputs.keys():
                raise Refused(
                    400, f"input size does not match signature: missing {sorted(missing)}"
                )
            self.serving.check_rows(inputs)
            response = predict_pb2.PredictResponse()
            for name, values in self.serving.answer(
                request.model_spec.signature_name, inputs
            ).items():
                dtype = _DTYPES[signature["outputs"][name]["dtype"]]
                response.outputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
            return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        with self._refusing(request.model_spec, context) as version:
            found = get_model_metadata_pb2.SignatureDefMap()
            ParseDict({"signature_def": self.serving.signatures}, found)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version or max(self.serving.states)
            response.metadata["signature_def"].Pack(found)
            return response

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        with self._refusing(request.model_spec, context) as version:
            reply = self.serving.status(version)
            return ParseDict(reply, get_model_status_pb2.GetModelStatusResponse())

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> None:
        """Of the service; no client asks it."""

    Classify = Regress = MultiInference = HandleReloadConfigRequest

    @contextlib.contextmanager
    def _refusing(self, spec: Any, context: Any) -> Iterator[int | None]:
        """Gives the version that was asked for; turns what is refused into gRPC's errors."""
        version = spec.version.value if spec.HasField("version") else None
        self.specs.append((spec.name, version or 0))
        if self.faults:
            code, details = self.faults.popleft()
            context.abort(grpc.StatusCode[code], details)
        try:
            self.serving.check_model(spec.name, version)
            yield version
        except Refused as error:
            context.abort(grpc.StatusCode[_CODES[error.status]], str(error))
