import numpy as np
import tensorflow as tf

from tf_textgen.decoding import logits as processors

INF = float("inf")


def test_temperature():
    logits = tf.constant([[1.0, 3.0, -INF]] * 4)
    scaled = processors.scale(logits, tf.constant([0.0, 1.0, 0.5, 2e-38])).numpy()
    assert scaled[:3].tolist() == [[1.0, 3.0, -INF], [1.0, 3.0, -INF], [-4.0, 0.0, -INF]]
    np.testing.assert_allclose(scaled[3], [-1e38, 0.0, -INF])  # not NaN


def test_ban_takes_ids_and_what_is_no_number():
    banned = processors.ban(tf.constant([[1.0, 2.0, 3.0], [float("nan"), INF, 1.0]]), [2]).numpy()
    assert banned.tolist() == [[1.0, 2.0, -INF], [-INF, -INF, -INF]]
    assert processors.ban(tf.constant([[1.0, float("nan")]]), []).numpy().tolist() == [[1.0, -INF]]


def test_suppress():
    held = processors.suppress(tf.zeros([2, 3]), 1, tf.constant([True, False])).numpy()
    assert held.tolist() == [[0.0, -INF, 0.0], [0.0, 0.0, 0.0]]


def test_neutral_rows_keep_their_logits():
    logits = tf.constant([[1.0, 2.0, 5.0]] * 2)
    np.testing.assert_array_equal(processors.scale(logits, tf.constant([1.0, 0.7]))[0], logits[0])
    assert processors.scale(tf.zeros([0, 3]), tf.zeros([0])).shape == (0, 3)
