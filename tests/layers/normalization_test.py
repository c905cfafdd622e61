import numpy as np
import pytest
import tensorflow as tf

from tests.support import transformer_oracle as oracle
from tf_textgen.errors import UserError
from tf_textgen.layers.normalization import normalization


def _build(kind, **options):
    layer = normalization(kind, 6, **options)
    layer.build()
    rng = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign(rng.normal(size=6))
    return layer, [np.asarray(v.value, np.float64) for v in layer.weights]


@pytest.mark.parametrize("use_bias", [True, False])
def test_layer_norm_equals_the_oracle(use_bias):
    layer, weights = _build("layer_norm", epsilon=1e-3, use_bias=use_bias)
    x = np.random.default_rng(0).normal(3.0, 2.0, (5, 6))
    np.testing.assert_allclose(layer(x), oracle.layer_norm(x, *weights, epsilon=1e-3), atol=1e-5)
    assert len(weights) == 1 + use_bias


def test_rms_norm_equals_the_oracle():
    layer, weights = _build("rms_norm", epsilon=1e-3)
    x = np.random.default_rng(0).normal(3.0, 2.0, (5, 6))
    np.testing.assert_allclose(layer(x), oracle.rms_norm(x, *weights, epsilon=1e-3), atol=1e-5)


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_mixed_precision_is_computed_in_float32(kind):
    x = tf.cast(np.random.default_rng(0).normal(100.0, 1.0, (4, 6)), tf.bfloat16)
    layer, _ = _build(kind, dtype="mixed_bfloat16")
    exact, _ = _build(kind)
    assert layer(x).dtype == tf.bfloat16
    np.testing.assert_array_equal(layer(x), tf.cast(exact(tf.cast(x, tf.float32)), tf.bfloat16))


def test_unknown_kind_is_named():
    with pytest.raises(UserError, match="normalization 'batch': expected layer_norm or rms_norm"):
        normalization("batch", 4)
