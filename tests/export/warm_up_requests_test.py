"""The warm-up requests of an export, for each signature."""

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.export.conftest import SAMPLED
from tf_textgen.export.warm_up_requests import warm_up_requests


def test_each_signature_has_its_records(exported):
    saved_model = exported.loaded.saved_model
    path = exported.loaded.path / "assets.extra" / "tf_serving_warmup_requests"
    rows = {}
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "model"
        signature_name = request.model_spec.signature_name
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        types = {name: array.dtype for name, array in inputs.items()}
        specs = saved_model.inputs(signature_name).items()
        assert types == {name: spec.dtype.as_numpy_dtype for name, spec in specs}
        (shape,) = {array.shape for array in inputs.values()}
        rows.setdefault(signature_name, []).append(shape)
    assert rows == {name: [(1,), (8,)] for name in saved_model.signatures}


def test_a_compiled_export_is_warm_for_each_shape(exported):
    signatures = exported.generator.signatures(SAMPLED)
    requests = warm_up_requests({"tokenize": signatures["tokenize"]}, SAMPLED, jit_compile=True)
    assert [len(inputs["text"]) for _, inputs in requests] == [1, 1, 1, 1, 8]
