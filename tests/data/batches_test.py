import itertools
import types

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.data.batches import ALONE, Batch, Field, Part, Share, make_dataset, pad_rows

FIELDS = (Field("target_tokens", np.int32, (None,)), Field("lengths", np.int64, ()))
PLAN = types.SimpleNamespace(fields=FIELDS, batch_rows=2)


def batch_of(step, part):
    tokens = np.full((2, step + 1), step)
    return Batch({"lengths": np.array([step, 7]), "target_tokens": tokens}, tokens + 1, tokens > 0)


def test_elements_are_keras_triples_of_known_types_and_shapes():
    dataset = make_dataset(tf.data.Dataset.range(3), batch_of, PLAN, ALONE)
    features, labels, weights = dataset.element_spec
    assert features == {
        "target_tokens": tf.TensorSpec((2, None), tf.int32),
        "lengths": tf.TensorSpec((2,), tf.int64),
    }
    assert (labels, weights) == (tf.TensorSpec((2, None), tf.int32), tf.TensorSpec((2, None), tf.float32))
    assert int(dataset.cardinality()) == 3
    for step, (features, labels, weights) in enumerate(dataset):
        expected = batch_of(step, Part())
        np.testing.assert_array_equal(features["target_tokens"], expected.features["target_tokens"])
        np.testing.assert_array_equal(features["lengths"], expected.features["lengths"])
        np.testing.assert_array_equal(labels, expected.labels)
        np.testing.assert_array_equal(weights, expected.counted.astype(np.float32))


def test_a_batch_of_another_shape_than_declared_is_an_error():
    def narrow(step, part):
        return Batch(
            {"target_tokens": np.zeros((1, 2)), "lengths": np.zeros(1)}, np.zeros((1, 2)), np.zeros((1, 2), bool)
        )

    with pytest.raises(tf.errors.InvalidArgumentError):
        list(make_dataset(tf.data.Dataset.range(1), narrow, PLAN, ALONE))


def test_elements_are_the_parts_of_the_local_replicas_step_by_step():
    asked = []

    def remembered(step, part):
        asked.append((step, part))
        return Batch({"lengths": np.zeros(1), "target_tokens": np.zeros((1, 1))}, np.zeros((1, 1)), np.ones((1, 1)))

    share = Share(first=2, local=2, replicas=4)
    plan = types.SimpleNamespace(fields=FIELDS, batch_rows=4)
    (features, _, _) = make_dataset(tf.data.Dataset.range(2, 6), remembered, plan, share).element_spec
    assert features["lengths"].shape == (1,)
    assert len(list(make_dataset(tf.data.Dataset.range(2, 6), remembered, plan, share))) == 4
    assert asked == [(step, Part(replica, 4)) for step in (1, 2) for replica in (2, 3)]


@pytest.mark.parametrize(("rows", "count", "multiple"), list(itertools.product((1, 5, 8), (1, 2, 3), (1, 2))))
def test_parts_are_equally_large_and_hold_each_row_once(rows, count, multiple):
    parts = [Part(i, count, multiple) for i in range(count)]
    assert [row for part in parts for row in part.of(rows)] == list(range(rows))
    sizes = {part.rows(rows) for part in parts}
    assert len(sizes) == 1
    (size,) = sizes
    assert size % multiple == 0
    assert 0 <= size * count - rows < count * multiple
    assert all(len(part.of(rows)) <= size for part in parts)


def test_pad_rows():
    rows = pad_rows([np.array([1, 2]), np.array([], int)], 3, 3, 9)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[1, 2, 9], [9, 9, 9], [9, 9, 9]]
