import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.data.batches import Batch, Field, make_dataset, pad_rows

FIELDS = (Field("target_tokens", np.int32, (2, None)), Field("lengths", np.int64, (2,)))


def batch_of(step):
    tokens = np.full((2, step + 1), step)
    return Batch({"lengths": np.array([step, 7]), "target_tokens": tokens}, tokens + 1, tokens > 0)


def test_elements_are_keras_triples_of_known_types_and_shapes():
    dataset = make_dataset(tf.data.Dataset.range(3), batch_of, FIELDS)
    features, labels, weights = dataset.element_spec
    assert features == {
        "target_tokens": tf.TensorSpec((2, None), tf.int32),
        "lengths": tf.TensorSpec((2,), tf.int64),
    }
    assert (labels, weights) == (tf.TensorSpec((2, None), tf.int32), tf.TensorSpec((2, None), tf.float32))
    assert int(dataset.cardinality()) == 3
    for step, (features, labels, weights) in enumerate(dataset):
        expected = batch_of(step)
        np.testing.assert_array_equal(features["target_tokens"], expected.features["target_tokens"])
        np.testing.assert_array_equal(features["lengths"], expected.features["lengths"])
        np.testing.assert_array_equal(labels, expected.labels)
        np.testing.assert_array_equal(weights, expected.counted.astype(np.float32))


def test_a_batch_of_another_shape_than_declared_is_an_error():
    def narrow(step):
        return Batch({"target_tokens": np.zeros((1, 2))}, np.zeros((1, 2)), np.zeros((1, 2), bool))

    with pytest.raises(tf.errors.InvalidArgumentError):
        list(make_dataset(tf.data.Dataset.range(1), narrow, FIELDS[:1]))


def test_pad_rows():
    rows = pad_rows([np.array([1, 2]), np.array([], int)], 3, 3, 9)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[1, 2, 9], [9, 9, 9], [9, 9, 9]]
