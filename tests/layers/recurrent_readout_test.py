"""The vectors before the logits against NumPy."""

import numpy as np
import pytest

from tests.layers.recurrent_attention_test import LENGTHS, memory_of, softmax
from tests.layers.recurrent_test import draw
from tf_textgen.errors import UserError
from tf_textgen.layers.recurrent_readout import RecurrentReadout


@pytest.mark.parametrize(
    "kind, scale", [("luong_dot", 1.0), ("luong_general", 1.0), ("luong_scaled", 0.5)]
)
def test_luong_equals_numpy(kind, scale):
    layer, values, memory = memory_of(kind, 4)
    hidden = draw(3, 2, 4, seed=7)
    readout = RecurrentReadout(kind, 6)
    vectors = readout(hidden, memory=memory)
    for b, length in enumerate(LENGTHS):
        rows = values[b, :length]
        keys = rows @ layer.get_weights()[0] if kind == "luong_general" else rows
        contexts = softmax(hidden[b] @ keys.T * scale) @ rows
        expected = np.tanh(np.concatenate([contexts, hidden[b]], -1) @ readout.get_weights()[0])
        np.testing.assert_allclose(vectors[b], expected, atol=1e-5)


def test_bahdanau_equals_numpy():
    readout = RecurrentReadout("bahdanau", 6)
    parts = draw(3, 2, 4), draw(3, 2, 5, seed=1), draw(3, 2, 3, seed=2)
    vectors = readout(parts[0], embedded=parts[1], contexts=parts[2])
    kernel, bias = readout.get_weights()
    pairs = np.concatenate(parts, -1) @ kernel + bias
    np.testing.assert_allclose(vectors, np.maximum(pairs[..., :6], pairs[..., 6:]), atol=1e-5)


def test_without_attention_a_projection_only_where_widths_differ():
    hidden = draw(3, 2, 4)
    np.testing.assert_array_equal(RecurrentReadout("none", 4)(hidden), hidden)
    readout = RecurrentReadout("none", 5)
    vectors = readout(hidden)
    np.testing.assert_allclose(vectors, hidden @ readout.get_weights()[0], atol=1e-5)


def test_errors():
    with pytest.raises(UserError, match="attention 'luong': expected one of none, bahdanau"):
        RecurrentReadout("luong", 4)
    readout = RecurrentReadout("luong_dot", 4)
    readout.build((None, None, 4), memory_shape=((None, None, 4),))
    with pytest.raises(
        UserError, match="luong_dot without a memory: expected what `AttentionMemory` returned"
    ):
        readout.call(draw(3, 2, 4))
