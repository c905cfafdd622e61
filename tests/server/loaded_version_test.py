"""The warm-up of a version, with records and without."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.export.prediction_log import REQUESTS_FILE
from tf_textgen.server.loaded_version import LoadedVersion


@pytest.fixture(scope="module")
def toy(toy_root):
    return toy_root / "1"


def asked(loaded, monkeypatch):
    found = []
    run = loaded.run
    monkeypatch.setattr(
        loaded, "run", lambda name, inputs: found.append((name, inputs)) or run(name, inputs)
    )
    loaded.warm_up()
    return found


def delimited(number, payload):
    """A field of a message in protocol buffers' wire format, its value shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def record(signature, **inputs):
    """A `PredictionLog` written by hand: predict_log 6, request 1, model_spec 1, signature_name 3,
    inputs 2.
    """
    request = delimited(1, delimited(1, b"toy") + delimited(3, signature))
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += delimited(2, delimited(1, name.encode()) + delimited(2, tensor))
    return delimited(6, delimited(1, request))


def test_every_signature_once_without_records(toy, monkeypatch):
    assert [name for name, _ in asked(LoadedVersion(toy), monkeypatch)] == [
        "generate",
        "generate_chunk",
        "serving_default",
    ]


def test_the_records_where_there_are_some(toy, tmp_path, monkeypatch):
    folder = tmp_path / "1"
    shutil.copytree(toy, folder)
    with tf.io.TFRecordWriter(str(folder / REQUESTS_FILE)) as writer:
        writer.write(record(b"serving_default", text=[b"a", "从".encode()]))
        writer.write(record(b"", text=[b"b"]))
    found = asked(LoadedVersion(folder), monkeypatch)
    assert [name for name, _ in found] == ["serving_default", "serving_default"]
    assert [list(inputs) for _, inputs in found] == [["text"], ["text"]]
    np.testing.assert_array_equal(found[0][1]["text"], np.array([b"a", "从".encode()], object))


def test_a_record_that_fails_fails_the_version(toy, tmp_path):
    folder = tmp_path / "1"
    shutil.copytree(toy, folder)
    with tf.io.TFRecordWriter(str(folder / REQUESTS_FILE)) as writer:
        writer.write(record(b"missing", text=[b"a"]))
    with pytest.raises(UserError, match=r'/1: cannot be served .*"missing" not found'):
        LoadedVersion(folder).warm_up()
