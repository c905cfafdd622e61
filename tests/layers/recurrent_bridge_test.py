"""The bridge from encoder states to decoder states."""

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.recurrent_test import draw
from tf_textgen.errors import UserError
from tf_textgen.layers.recurrent_bridge import RecurrentBridge


def states(layers, width=4):
    return tuple(
        (draw(2, width, seed=2 * i), 3 * draw(2, width, seed=2 * i + 1)) for i in range(layers)
    )


def test_copy_pairs_layers_from_the_top():
    given = states(2)
    for layers, partners in {1: [1], 2: [0, 1], 3: [0, 0, 1]}.items():
        made = RecurrentBridge("copy", 4, layers)(given)
        for state, partner in zip(made, partners, strict=True):
            for one, other in zip(state, given[partner], strict=True):
                np.testing.assert_array_equal(one, other)


def test_dense_equals_numpy():
    given = states(1)
    bridge = RecurrentBridge("dense", 3, 1, seed=0)
    ((hidden, carry),) = bridge(given)
    kernel_h, bias_h, kernel_c, bias_c = bridge.get_weights()
    np.testing.assert_allclose(hidden, np.tanh(given[0][0] @ kernel_h + bias_h), atol=1e-6)
    np.testing.assert_allclose(carry, given[0][1] @ kernel_c + bias_c, atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "copy", "zero"])
def test_shapes_dtypes_and_no_rows(kind):
    bridge = RecurrentBridge(kind, 4, 3, dtype="mixed_bfloat16")
    for rows in (2, 0):
        made = bridge(((tf.ones([rows, 4]), tf.ones([rows, 4])),) * 2)
        assert [t.shape for state in made for t in state] == [(rows, 4)] * 6
        assert {t.dtype for state in made for t in state} == {tf.float32}


def test_errors():
    with pytest.raises(UserError, match="bridge 'none': expected one of dense, copy, zero"):
        RecurrentBridge("none", 4, 1)
    with pytest.raises(
        UserError, match="width 4 to a decoder of width 3: expected equal widths; choose the dense"
    ):
        RecurrentBridge("copy", 3, 1)(states(1))
