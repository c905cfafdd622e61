"""A client of a served model over gRPC: the methods of `Client`, for a server that opens no REST
port.

It needs the extra `grpc` (`pip install 'tf_textgen[grpc]'`), whose protocol imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tf_textgen.client.errors import (
    Deadline,
    InvalidRequest,
    ServerError,
    ServerUnavailable,
    ServingError,
    error_of,
)
from tf_textgen.client.http_pool import MAX_RESPONSE_BYTES, parse_address
from tf_textgen.client.results import (
    ModelMetadata,
    Signature,
    VersionStatus,
    metadata_of,
    statuses_of,
)
from tf_textgen.client.text_client import TextClient
from tf_textgen.compat import import_tensorflow_quietly

import_tensorflow_quietly()
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

try:
    import grpc
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2
    from tensorflow_serving.apis import get_model_status_pb2 as status_pb2
    from tensorflow_serving.apis import (
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError as error:
    raise ImportError(
        f"the gRPC client needs tensorflow-serving-api and grpcio ({error}): pip install "
        "'tf_textgen[grpc]'"
    ) from error

# A channel of its own accord would wait up to two minutes before it tries a server again that was
# restarted.
_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,  # `TextClient` tries again
    "grpc.max_send_message_length": -1,
}


class GrpcClient(TextClient):
    """A client of a model that TensorFlow Serving serves over gRPC.

    Args:
      address: `HOST:PORT` or `[IPv6]:PORT` (8500 by default on the server), or an https URL for
        TLS.
      model: its name on the server.
      version: None asks the newest that is loaded.
      timeout_s: seconds for a call with all its attempts.
      retries: attempts after the first, if there is no connection, the server is UNAVAILABLE
        or has no thread left.
      credentials: `grpc.ChannelCredentials` of https; None trusts gRPC's own authorities.
      max_response_bytes: a longer answer is refused.

    Raises:
      InvalidRequest: if an argument is none of these. No connection is made before the first
        call.
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
        credentials: grpc.ChannelCredentials | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        where = parse_address(address)
        if where.path:
            raise InvalidRequest(
                f"address {address!r}: a path came; expected HOST:PORT, since gRPC has none"
            )
        target = str(where).partition("://")[2]
        options = [*_OPTIONS.items(), ("grpc.max_receive_message_length", max_response_bytes)]
        if where.scheme == "https":
            credentials = credentials or grpc.ssl_channel_credentials()
            channel = grpc.secure_channel(target, credentials, options)
        else:
            channel = grpc.insecure_channel(target, options)
        super().__init__(
            _Grpc(channel, target, model, version), timeout_s=timeout_s, retries=retries
        )


class _Grpc:
    """A `Transport` over TensorFlow Serving's PredictionService and ModelService."""

    def __init__(self, channel: grpc.Channel, target: str, model: str, version: int | None) -> None:
        self._channel = channel
        self._model = model
        self._version = version
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.where = f"grpc://{target}/{model}" + (f"/{version}" if version is not None else "")

    def predict(
        self,
        signature: Signature,
        inputs: Mapping[str, list[Any]],
        version: int | None,
        deadline: Deadline,
    ) -> Mapping[str, Any]:
        spec = self._spec(self._version if version is None else version)
        spec.signature_name = signature.name
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, values in inputs.items():
            dtype = tf.as_dtype(types_pb2.DataType.Value(signature.inputs[name].dtype))
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
        response = self._asked(self._prediction.Predict, request, deadline)
        return {name: _plain(tensor) for name, tensor in response.outputs.items()}

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        request = metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(self._version), metadata_field=["signature_def"]
        )
        response = self._asked(self._prediction.GetModelMetadata, request, deadline)
        signatures = metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec = {"name": response.model_spec.name, "version": response.model_spec.version.value}
        return metadata_of(
            spec, MessageToDict(signatures, preserving_proto_field_name=True)["signature_def"]
        )

    def status(self, deadline: Deadline) -> list[VersionStatus]:
        request = status_pb2.GetModelStatusRequest(model_spec=self._spec(self._version))
        response = self._asked(self._models.GetModelStatus, request, deadline)
        return statuses_of(MessageToDict(response, preserving_proto_field_name=True))

    def close(self) -> None:
        self._channel.close()

    def _spec(self, version: int | None) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self._model)
        if version is not None:
            spec.version.value = version
        return spec

    def _asked(self, method: Callable[..., Any], request: Any, deadline: Deadline) -> Any:
        try:
            return method(request, timeout=deadline.remaining())
        except grpc.RpcError as error:
            raise self._told(error.code().name, error.details() or "", deadline) from error

    def _told(self, code: str, details: str, deadline: Deadline) -> ServingError:
        if code == "DEADLINE_EXCEEDED" and not deadline.left():
            return deadline.exceeded()
        # The server's own word is of its full queue.
        if code == "UNAVAILABLE" and "queue" not in details:
            came = f"{self.where}: no connection ({details[:400]})"
            return ServerUnavailable(
                f"{came}; expected a server there: start it, or check host and port", may_retry=True
            )
        if "CLIENT: Received message larger than max" in details:
            advice = "expected at most max_response_bytes: ask for less at once, or allow more"
            return ServerError(f"{self.where}: the answer is too long ({details[:400]}); {advice}")
        return error_of(code, details[:400], self.where)


def _plain(proto: Any) -> Any:
    """A tensor as nested lists; strings that are not valid UTF-8 are mended."""
    array = tf.make_ndarray(proto)
    if array.dtype == object:
        array = np.frompyfunc(lambda text: text.decode("utf-8", "replace"), 1, 1)(array)
    return array.tolist()
