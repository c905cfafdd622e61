import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.layers.projection import Projection, dimensions, fold_seed


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 3, 2), (0, 3)])
def test_equals_numpy(leading):
    layer = Projection(4, 5, stddev=1.0, seed=0)
    x = np.random.default_rng(0).normal(size=(*leading, 4)).astype(np.float32)
    layer.build()
    layer.bias.assign(np.arange(5.0))
    np.testing.assert_allclose(
        layer(x), x @ np.asarray(layer.kernel.value) + np.arange(5.0), rtol=1e-4, atol=1e-5
    )


def test_seeds_differ_by_name_and_repeat():
    assert fold_seed(1, "a") == fold_seed(1, "a") != fold_seed(1, "b")
    assert fold_seed(2, "a") != fold_seed(1, "a")
    assert fold_seed(None, "a") is None


def test_dimensions_are_static_where_known():
    @tf.function(input_signature=[tf.TensorSpec([None, 3])], autograph=False)
    def trace(x):
        batch, width = dimensions(x)
        assert isinstance(width, int)
        return batch

    assert trace(tf.zeros([2, 3])) == 2
