"""Attention of recurrent decoders against NumPy, row by row without padding."""

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.recurrent_test import draw, sigmoid
from tf_textgen.errors import UserError
from tf_textgen.layers import recurrent_attention as attention

LENGTHS = [5, 1, 3]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def memory_of(kind, units, width=4, seed=0, steps=5):
    layer = attention.AttentionMemory(kind, units, seed=1)
    values = draw(3, steps, width, seed=seed)
    return layer, values, layer(values, tf.sequence_mask(LENGTHS, steps))


@pytest.mark.parametrize(
    "kind, width, scale",
    [("luong_dot", 6, 1.0), ("luong_scaled", 6, 6**-0.5), ("luong_general", 4, 1.0)],
)
def test_dot_attention_equals_numpy(kind, width, scale):
    layer, values, memory = memory_of(kind, 6, width)
    query = draw(3, 2, 6, seed=7)
    contexts, weights = attention.dot_attention(tf.constant(query), memory, scale=scale)
    for b, length in enumerate(LENGTHS):
        rows = values[b, :length]
        keys = rows @ layer.get_weights()[0] if kind == "luong_general" else rows
        expected = softmax(query[b] @ keys.T * scale)
        np.testing.assert_allclose(weights[b, :, :length], expected, atol=1e-6)
        assert not np.any(weights[b, :, length:])
        np.testing.assert_allclose(contexts[b], expected @ rows, atol=1e-5)


def test_additive_attention_equals_numpy():
    layer, values, memory = memory_of("bahdanau", 6)
    query, vector = draw(3, 6, seed=7), draw(6, seed=8)
    contexts, weights = attention.additive_attention(tf.constant(query), memory, vector)
    for b, length in enumerate(LENGTHS):
        rows = values[b, :length]
        expected = softmax(np.tanh(query[b] + rows @ layer.get_weights()[0]) @ vector)
        np.testing.assert_allclose(weights[b, :length], expected, atol=1e-6)
        np.testing.assert_allclose(contexts[b], expected @ rows, atol=1e-5)


def attentive_numpy(inputs, keys, values, weights, hidden, carry):
    kernel, recurrent_kernel, bias, context_kernel, query_kernel, vector = (
        w.astype(np.float64) for w in weights
    )
    outputs, contexts = [], []
    for row in inputs:
        context = softmax(np.tanh(hidden @ query_kernel + keys) @ vector[:, 0]) @ values
        i, f, g, o = np.split(
            row @ kernel + context @ context_kernel + hidden @ recurrent_kernel + bias, 4
        )
        carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(carry)
        outputs.append(hidden)
        contexts.append(context)
    return np.array(outputs), np.array(contexts), hidden, carry


def test_attentive_recurrent_equals_numpy_with_left_padding():
    _, values, memory = memory_of("bahdanau", 6)
    layer = attention.AttentiveRecurrent(6)
    inputs, state = draw(3, 4, 2, seed=3), (draw(3, 6, seed=4), draw(3, 6, seed=5))
    padding_mask = np.arange(4)[None] >= 4 - np.array([[4], [1], [2]])
    layer(inputs, memory, initial_state=state, padding_mask=padding_mask)
    layer.set_weights([draw(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    outputs, contexts, last = layer(inputs, memory, initial_state=state, padding_mask=padding_mask)
    for b, length in enumerate(LENGTHS):
        expected = attentive_numpy(
            inputs[b, padding_mask[b]], memory.keys.numpy()[b, :length], values[b, :length], layer.get_weights(),
            state[0][b], state[1][b],
        )  # fmt: skip
        actual = (
            outputs.numpy()[b, padding_mask[b]],
            contexts.numpy()[b, padding_mask[b]],
            last[0][b],
            last[1][b],
        )
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_reach_every_weight_alike_in_eager_graph_and_xla(jit):
    _, values, memory = memory_of("bahdanau", 6)
    layer = attention.AttentiveRecurrent(6, seed=0)
    inputs = tf.constant(draw(3, 4, 2, seed=3))
    layer(inputs, memory)

    def gradients(inputs, values, keys):
        with tf.GradientTape() as tape:
            tape.watch([values, keys])
            outputs, contexts, _ = layer(
                inputs, attention.Memory(values, keys, memory.padding_mask)
            )
            loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(contexts)
        return tape.gradient(loss, [values, keys, *[v.value for v in layer.trainable_variables]])

    arguments = (inputs, tf.constant(values), memory.keys)
    expected = gradients(*arguments)
    signature = [tf.TensorSpec([None, None, t.shape[-1]]) for t in arguments]
    actual = tf.function(gradients, jit_compile=jit, input_signature=signature, autograph=False)(
        *arguments
    )
    for one, other in zip(actual, expected, strict=True):
        assert np.any(other)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_source_of_padding_alone_gives_zeros():
    memory = attention.Memory(tf.ones([1, 3, 4]), tf.ones([1, 3, 4]), tf.zeros([1, 3], tf.bool))
    contexts, weights = attention.dot_attention(tf.ones([1, 2, 4]), memory)
    assert not np.any(contexts) and not np.any(weights)


@pytest.mark.parametrize("rows, sources, steps", [(0, 3, 2), (2, 0, 2), (2, 3, 0)])
def test_no_rows_no_sources_no_steps(rows, sources, steps):
    layer = attention.AttentionMemory("bahdanau", 6)
    memory = layer(tf.zeros([rows, sources, 4]), tf.ones([rows, sources], tf.bool))
    outputs, contexts, state = attention.AttentiveRecurrent(6)(tf.zeros([rows, steps, 2]), memory)
    assert (outputs.shape, contexts.shape, state[0].shape) == (
        (rows, steps, 6),
        (rows, steps, 4),
        (rows, 6),
    )
    assert attention.dot_attention(tf.zeros([rows, steps, 6]), memory)[0].shape == (rows, steps, 4)


def test_state_stays_float32_under_mixed_bfloat16():
    memory = attention.AttentionMemory("bahdanau", 6, dtype="mixed_bfloat16")(
        draw(2, 3, 4), tf.ones([2, 3], tf.bool)
    )
    assert memory.values.dtype == memory.keys.dtype == tf.bfloat16
    layer = attention.AttentiveRecurrent(6, dtype="mixed_bfloat16")
    outputs, contexts, state = layer(draw(2, 5, 2), memory)
    assert outputs.dtype == contexts.dtype == tf.bfloat16
    assert [t.dtype for t in state] == [tf.float32] * 2


def test_errors():
    with pytest.raises(UserError, match="attention 'dot': expected one of bahdanau, luong_general"):
        attention.AttentionMemory("dot", 3)
    with pytest.raises(
        UserError, match="width 6 with encoder outputs of width 4: expected equal widths"
    ):
        memory_of("luong_dot", 6)
