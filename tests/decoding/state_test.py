import numpy as np
import tensorflow as tf

from tf_textgen.decoding import state


def test_write_column():
    matrix = tf.zeros([2, 3], tf.int32)
    assert state.write_column(matrix, tf.constant(1), tf.constant([5, 6])).numpy().tolist() == [[0, 5, 0], [0, 6, 0]]
    assert matrix.numpy().sum() == 0
    assert state.write_column(tf.zeros([0, 1]), tf.constant(0), tf.zeros([0])).shape == (0, 1)


def test_tokens_seen_ignores_padding_and_foreign_ids():
    tokens = tf.constant([[1, 2, 3], [3, 3, 0], [7, -1, 2], [1, 2, 3]])
    seen = state.tokens_seen(tokens, tf.constant([2, 3, 3, 0]), 4).numpy()
    assert [np.flatnonzero(row).tolist() for row in seen] == [[2, 3], [0, 3], [2], []]
    assert state.tokens_seen(tf.zeros([0, 3], tf.int32), tf.zeros([0], tf.int32), 4).shape == (0, 4)


def test_add_seen():
    seen = state.add_seen(tf.zeros([2, 3], tf.bool), tf.constant([2, 0])).numpy()
    assert seen.tolist() == [[False, False, True], [True, False, False]]
