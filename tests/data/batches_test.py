import itertools
import types

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.data.batches import ONE_PROCESS, Batch, Field, Part, Share, make_dataset, pad_rows

FIELDS = (Field("target_tokens", np.int32, (None,)), Field("lengths", np.int64, ()))
PLAN = types.SimpleNamespace(fields=FIELDS, batch_rows=2)


def batch_of(step, part):
    tokens = np.full((2, step + 1), step)
    return Batch({"lengths": np.array([step, 7]), "target_tokens": tokens}, tokens + 1, tokens > 0)


def test_elements_are_keras_triples_of_known_types_and_shapes():
    dataset = make_dataset(tf.data.Dataset.range(3), batch_of, PLAN, ONE_PROCESS)
    features, labels, weights = dataset.element_spec
    assert features == {
        "target_tokens": tf.TensorSpec((2, None), tf.int32),
        "lengths": tf.TensorSpec((2,), tf.int64),
    }
    assert (labels, weights) == (
        tf.TensorSpec((2, None), tf.int32),
        tf.TensorSpec((2, None), tf.float32),
    )
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
            {"target_tokens": np.zeros((1, 2)), "lengths": np.zeros(1)},
            np.zeros((1, 2)),
            np.zeros((1, 2), bool),
        )

    with pytest.raises(tf.errors.InvalidArgumentError):
        list(make_dataset(tf.data.Dataset.range(1), narrow, PLAN, ONE_PROCESS))


def test_elements_are_the_parts_of_the_local_replicas_step_by_step():
    def told(step, part):
        assert (part.count, part.multiple) == (4, 1)
        row = np.zeros((1, 1))
        return Batch(
            {"lengths": np.array([10 * step + part.index]), "target_tokens": row}, row, row > 0
        )

    share = Share(first=2, local=2, replicas=4)
    plan = types.SimpleNamespace(fields=FIELDS, batch_rows=4)
    dataset = make_dataset(tf.data.Dataset.range(2, 6), told, plan, share)
    assert dataset.element_spec[0]["lengths"].shape == (1,)
    assert [int(features["lengths"][0]) for features, _, _ in dataset] == [12, 13, 22, 23]


@pytest.mark.parametrize(
    ("rows", "count", "multiple"), list(itertools.product((1, 5, 8), (1, 2, 3), (1, 2)))
)
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
