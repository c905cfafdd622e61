"""Recurrent layers against keras.layers.LSTM and against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers import recurrent
from tf_textgen.layers.recurrent import Bidirectional, Recurrent

LENGTHS = [7, 1, 4, 0]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_lstm(inputs, weights, hidden, carry):
    """Outputs [T, D] and the last state of one row of inputs [T, I], in float64."""
    kernel, recurrent_kernel, bias = (w.astype(np.float64) for w in weights)
    outputs = []
    for row in inputs:
        i, f, g, o = np.split(row @ kernel + hidden @ recurrent_kernel + bias, 4)
        carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(carry)
        outputs.append(hidden)
    return np.array(outputs).reshape(-1, hidden.shape[0]), hidden, carry


def layer_with_random_weights(layer, width=3):
    layer(tf.zeros([1, 2, width]))
    layer.set_weights([draw(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    return layer


@pytest.mark.parametrize("reverse", [False, True])
def test_equals_numpy_row_by_row_whatever_the_padding(reverse):
    layer = layer_with_random_weights(Recurrent(5, reverse=reverse))
    inputs, state = draw(4, 7, 3), (draw(4, 5, seed=1), draw(4, 5, seed=2))
    for side in ("right", "left"):
        places = np.arange(7)[None]
        lengths = np.array(LENGTHS)[:, None]
        valid = places < lengths if side == "right" else places >= 7 - lengths
        outputs, last = layer(inputs, initial_state=state, valid=valid)
        for b in range(4):
            order = slice(None, None, -1) if reverse else slice(None)
            expected, hidden, carry = numpy_lstm(
                inputs[b, valid[b]][order], layer.get_weights(), state[0][b], state[1][b]
            )
            np.testing.assert_allclose(outputs.numpy()[b, valid[b]], expected[order], atol=1e-5)
            np.testing.assert_allclose(last[0][b], hidden, atol=1e-5)
            np.testing.assert_allclose(last[1][b], carry, atol=1e-5)


def test_equals_keras_lstm_with_its_weights_in_outputs_states_and_gradients():
    reference = keras.layers.LSTM(5, return_sequences=True, return_state=True)
    inputs = tf.constant(draw(4, 7, 3))
    reference(inputs)
    layer = layer_with_random_weights(Recurrent(5))
    reference.set_weights(layer.get_weights())
    mask = tf.sequence_mask([7, 1, 4, 2], 7)

    @tf.function
    def run(call, variables):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, hidden, carry = call()
            kept = outputs * tf.cast(mask, tf.float32)[..., None]
            loss = tf.reduce_sum(kept**2) + tf.reduce_sum(hidden * carry)
        return (kept, hidden, carry), tape.gradient(loss, [inputs, *variables])

    def ours():
        outputs, state = layer(inputs, valid=mask)
        return outputs, *state

    expected = run(lambda: reference(inputs, mask=mask), [v.value for v in reference.trainable_variables])
    actual = run(ours, [v.value for v in layer.trainable_variables])
    for one, other in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_bidirectional_equals_keras():
    layer = Bidirectional(10)
    inputs, mask = draw(3, 6, 4), tf.sequence_mask([6, 2, 3], 6)
    layer(inputs)
    reference = keras.layers.Bidirectional(keras.layers.LSTM(5, return_sequences=True, return_state=True))
    reference(inputs)
    reference.set_weights(layer.get_weights())
    outputs, state = layer(inputs, valid=mask)
    expected, forward_h, forward_c, backward_h, backward_c = reference(inputs, mask=mask)
    keep = tf.cast(mask, tf.float32)[..., None]
    np.testing.assert_allclose(outputs * keep, expected * keep, atol=1e-5)
    np.testing.assert_allclose(state[0], tf.concat([forward_h, backward_h], -1), atol=1e-5)
    np.testing.assert_allclose(state[1], tf.concat([forward_c, backward_c], -1), atol=1e-5)


def test_one_step_at_a_time_equals_all_steps():
    layer = layer_with_random_weights(Recurrent(5))
    inputs = draw(2, 6, 3)
    outputs, last = layer(inputs)
    state = None
    for t in range(6):
        one, state = layer(inputs[:, t : t + 1], initial_state=state)
        np.testing.assert_allclose(one[:, 0], outputs[:, t], atol=1e-6)
    np.testing.assert_allclose(state[1], last[1], atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_in_graphs_of_static_and_dynamic_length(jit):
    layer = layer_with_random_weights(Recurrent(5))
    inputs, mask = draw(3, 6, 3), np.arange(6)[None] < np.array([[6], [2], [4]])

    def gradients(inputs, mask):
        with tf.GradientTape() as tape:
            outputs, state = layer(inputs, valid=mask)
            loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(state[1])
        return tape.gradient(loss, [v.value for v in layer.trainable_variables])

    dynamic = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.bool)]
    static = [tf.TensorSpec([3, 6, 3]), tf.TensorSpec([3, 6], tf.bool)]
    expected = gradients(tf.constant(inputs), tf.constant(mask))
    for signature in (dynamic, static):
        for one, other in zip(
            tf.function(gradients, input_signature=signature, jit_compile=jit)(inputs, mask), expected, strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (0, 0, 3)])
@pytest.mark.parametrize("layer", [Recurrent(4), Bidirectional(4)], ids=["one", "both"])
def test_no_rows_and_no_steps(shape, layer):
    run = tf.function(
        lambda x, valid: layer(x, valid=valid),
        input_signature=[tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.bool)],
    )
    for call in (run, lambda x, valid: layer(x, valid=valid)):
        outputs, state = call(tf.zeros(shape), tf.ones(shape[:2], tf.bool))
        assert outputs.shape == (*shape[:2], 4)
        assert all(t.shape == (shape[0], 4) and not np.any(t) for t in state)


def test_gradients_without_steps_are_zero():
    layer = layer_with_random_weights(Recurrent(4))

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
    def gradients(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(inputs)[0])
        return tape.gradient(loss, [v.value for v in layer.trainable_variables])

    assert not any(np.any(g) for g in gradients(tf.zeros([2, 0, 3])))


def test_state_stays_float32_under_mixed_bfloat16():
    layer = Recurrent(4, dtype="mixed_bfloat16")
    exact = Recurrent(4)
    inputs = draw(2, 50, 3)
    exact(inputs)
    layer(inputs)
    layer.set_weights(exact.get_weights())
    fine = (tf.fill([2, 4], 0.001), tf.fill([2, 4], 257.0))  # 257 has no bfloat16
    outputs, state = layer(inputs[:, :0], initial_state=fine)
    assert outputs.dtype == tf.bfloat16
    assert state[1].dtype == tf.float32 and np.all(state[1] == 257.0)
    np.testing.assert_allclose(layer(inputs)[1][1], exact(inputs)[1][1], atol=0.05)


def test_initial_weights():
    layer = Recurrent(16, seed=3)
    layer(tf.zeros([1, 1, 8]))
    kernel, recurrent_kernel, bias = layer.get_weights()
    for gate in np.split(recurrent_kernel, 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(16), atol=1e-5)
    blocks = np.split(kernel, 4, axis=1)
    assert all(np.abs(block).max() <= np.sqrt(6 / 24) for block in blocks)
    assert not np.allclose(blocks[0], blocks[1])
    np.testing.assert_array_equal(bias.reshape(4, 16)[:, 0], [0, 1, 0, 0])
    again = Recurrent(16, seed=3)
    again(tf.zeros([1, 1, 8]))
    np.testing.assert_array_equal(again.get_weights()[0], kernel)


def test_scan_records_any_tensor_of_the_state():
    def step(row, state):
        return state[0] + row, state[1] * 2.0

    valid = tf.constant([[True, True], [True, True], [True, False]])
    first = (tf.zeros([2, 1]), tf.ones([2, 1]))
    (sums, powers), last = recurrent.scan(step, first, tf.ones([3, 2, 1]), valid=valid, record=(0, 1))
    np.testing.assert_array_equal(sums[:, :, 0], [[1, 1], [2, 2], [3, 2]])
    np.testing.assert_array_equal(powers[:, :, 0], [[2, 2], [4, 4], [8, 4]])
    np.testing.assert_array_equal(last[1][:, 0], [8, 4])


def test_errors():
    with pytest.raises(UserError, match="recurrent cell 'lst': expected one of lstm"):
        Recurrent(3, cell="lst")
    with pytest.raises(UserError, match="width 5: expected an even width"):
        Bidirectional(5)
