import tensorflow as tf

from tf_textgen.decoding import state


def test_write_column():
    matrix = tf.zeros([2, 3], tf.int32)
    assert state.write_column(matrix, tf.constant(1), tf.constant([5, 6])).numpy().tolist() == [
        [0, 5, 0],
        [0, 6, 0],
    ]
    assert matrix.numpy().sum() == 0
    assert state.write_column(tf.zeros([0, 1]), tf.constant(0), tf.zeros([0])).shape == (0, 1)
