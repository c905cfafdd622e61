import numpy as np
import tensorflow as tf

from tf_textgen.layers.embedding import TokenEmbedding


def test_reads_rows_and_products_with_all_rows():
    layer = TokenEmbedding(7, 4, stddev=1.0, seed=0)
    tokens = np.array([[0, 6], [3, 3]])
    rows = layer(tokens)
    table = np.asarray(layer.table.value)
    np.testing.assert_array_equal(rows, table[tokens])
    np.testing.assert_allclose(layer(rows, reverse=True), table[tokens] @ table.T, rtol=1e-5)


def test_logits_are_float32_under_mixed_precision():
    layer = TokenEmbedding(7, 4, dtype="mixed_bfloat16")
    rows = layer(tf.constant([[1]]))
    assert rows.dtype == tf.bfloat16
    assert layer(rows, reverse=True).dtype == tf.float32


def test_batch_of_no_rows():
    layer = TokenEmbedding(7, 4)
    assert layer(layer(tf.zeros([0, 3], tf.int32)), reverse=True).shape == (0, 3, 7)
