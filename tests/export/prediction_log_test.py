"""The records of warm-up requests, byte for byte."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.export.prediction_log import read_requests, write_requests


def delimited(number, payload):
    """A field of a message in protocol buffers' wire format, its value shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def test_records_have_the_wire_format_of_tensorflow_serving(tmp_path):
    """The numbers of the fields are those of its files prediction_log, predict and model.proto."""
    path = tmp_path / "requests"
    texts = np.array(["a", "从"], object)
    write_requests(path, "cats", [("embed", {"text": texts, "count": np.array([1, 2], np.int32)})])
    (record,) = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    model_spec = delimited(1, b"cats") + delimited(3, b"embed")
    request = delimited(1, model_spec)
    for name, values in (("count", [1, 2]), ("text", ["a", "从"])):
        tensor = tf.make_tensor_proto(values).SerializeToString()
        request += delimited(2, delimited(1, name.encode()) + delimited(2, tensor))
    assert record == delimited(6, delimited(1, request))


def test_requests_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "requests"
    inputs = {"text": np.array([b"a", b"\xff"], object), "seed": np.array([2**62, -1], np.int64)}
    write_requests(path, "cats", [("generate", inputs), ("", {"text": inputs["text"][:0]})])
    (name, found), (default, empty) = read_requests(path)
    assert (name, default) == ("generate", "")
    assert list(found["text"]) == list(inputs["text"])
    np.testing.assert_array_equal(found["seed"], inputs["seed"])
    assert empty["text"].shape == (0,)


@pytest.mark.thorough
def test_no_grpc_is_imported():
    code = "import sys, tf_textgen.export.prediction_log; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
