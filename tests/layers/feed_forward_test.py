import numpy as np
import pytest

from tests.support import transformer_oracle as oracle
from tf_textgen.errors import UserError
from tf_textgen.layers.feed_forward import ACTIVATIONS, FeedForward


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_equals_the_oracle(activation, use_bias):
    layer = FeedForward(
        4, 6, activation=activation, use_bias=use_bias, stddev=1.0, seed=0, name="feed_forward"
    )
    layer.build()
    for variable in layer.weights:
        variable.assign(np.random.default_rng(variable.ndim).normal(size=variable.shape))
    weights, x = oracle.by_path(layer), np.random.default_rng(3).normal(size=(2, 3, 4))
    hidden = oracle.activate(activation, oracle.linear(x, weights, "input_projection"))
    np.testing.assert_allclose(
        layer(x), oracle.linear(hidden, weights, "output_projection"), rtol=1e-4, atol=1e-4
    )
    assert len(weights) == (4 if use_bias else 2)


def test_output_starts_with_its_own_spread():
    layer = FeedForward(64, 256, stddev=0.02, output_stddev=0.005, seed=0)
    layer.build()
    assert np.std(layer.input_projection.kernel.value) == pytest.approx(0.02, rel=0.05)
    assert np.std(layer.output_projection.kernel.value) == pytest.approx(0.005, rel=0.05)


def test_unknown_activation_is_named():
    with pytest.raises(
        UserError, match="activation 'tanh': expected one of relu, gelu, gelu_tanh, swiglu"
    ):
        FeedForward(4, 6, activation="tanh")
