import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.text.rows import keep_first, keep_last, pad_left, pad_right, repeat_id

ROWS = [[5, 6, 7], [], [8], [9, 10, 11, 12]]
COUNTS = [2, 3, 0, 4]


def test_keep_first_and_last_equal_python_slices():
    tokens = tf.ragged.constant(ROWS, dtype=tf.int32)
    assert keep_first(tokens, tf.constant(COUNTS)).to_list() == [
        r[:n] for r, n in zip(ROWS, COUNTS, strict=True)
    ]
    expected = [r[max(len(r) - n, 0) :] for r, n in zip(ROWS, COUNTS, strict=True)]
    assert keep_last(tokens, tf.constant(COUNTS)).to_list() == expected


def test_repeat_id_gives_as_many_as_asked():
    assert repeat_id(3, tf.constant([0, 2, 1])).to_list() == [[], [3, 3], [3]]


def test_pad_left_ends_all_rows_at_one_column():
    padded = pad_left(tf.ragged.constant(ROWS, dtype=tf.int32), 0)
    np.testing.assert_array_equal(padded, [[0] * (4 - len(row)) + row for row in ROWS])


def test_pad_right_begins_all_rows_at_one_column():
    padded = pad_right(tf.ragged.constant(ROWS, dtype=tf.int32), 0)
    np.testing.assert_array_equal(padded, [row + [0] * (4 - len(row)) for row in ROWS])


@pytest.mark.parametrize("function", [keep_first, keep_last])
def test_no_rows(function):
    empty = tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int32), tf.zeros([0], tf.int64))
    assert function(empty, tf.zeros([0], tf.int32)).to_list() == []
    assert pad_left(empty, 0).shape == pad_right(empty, 0).shape == (0, 1)
