import numpy as np
import pytest
import tensorflow as tf

from tests.support import transformer_oracle as oracle
from tf_textgen.layers.positions import LearnedPositions, rotate, rotation, sinusoids


@pytest.mark.parametrize("width", [8, 7, 1])
def test_sinusoids_equal_the_oracle(width):
    positions = [[0, 1, 5], [100, 3, 2]]
    expected = [[oracle.sinusoid(p, width) for p in row] for row in positions]
    np.testing.assert_allclose(sinusoids(tf.constant(positions), width), expected, atol=1e-5)


def test_rotation_equals_complex_multiplication():
    heads = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
    positions = np.array([[0, 1, 2, 3], [50, 7, 0, 9]])
    expected = np.empty(heads.shape)
    for b, n, t in np.ndindex(2, 3, 4):
        expected[b, n, t] = oracle.rotate(
            heads[b, n, t].astype(np.float64), positions[b, t], base=500.0
        )
    result = rotate(tf.constant(heads), rotation(tf.constant(positions), 6, base=500.0))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_rotated_products_depend_on_the_distance_alone():
    query, key = (
        tf.constant(np.random.default_rng(s).normal(size=(1, 1, 1, 8)), tf.float32) for s in (0, 1)
    )

    def product(q, k):
        turned = [rotate(x, rotation(tf.constant([[p]]), 8)) for x, p in ((query, q), (key, k))]
        return float(tf.reduce_sum(turned[0] * turned[1]))

    assert product(13, 10) == pytest.approx(product(3, 0), abs=1e-4)
    assert product(13, 10) != pytest.approx(product(13, 9), abs=1e-2)


def test_learned_positions_read_their_row_and_clamp():
    layer = LearnedPositions(4, 3, seed=0)
    rows = layer(tf.constant([[-2, 0, 3, 9]]))
    table = np.asarray(layer.table.value)
    np.testing.assert_array_equal(rows[0], table[[0, 0, 3, 3]])
