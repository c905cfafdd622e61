"""Recurrent layers against those of Keras and against NumPy."""

import itertools

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


def numpy_gru(inputs, weights, hidden):
    """Outputs [T, D] of one row of inputs [T, I] as the paper has it, but for the place of the
    reset gate.
    """
    kernel, recurrent_kernel, bias, recurrent_bias = (w.astype(np.float64) for w in weights)
    outputs = []
    for row in inputs:
        update, reset, candidate = np.split(row @ kernel + bias, 3)
        own_update, own_reset, own_candidate = np.split(
            hidden @ recurrent_kernel + recurrent_bias, 3
        )
        update, reset = sigmoid(update + own_update), sigmoid(reset + own_reset)
        hidden = update * hidden + (1 - update) * np.tanh(candidate + reset * own_candidate)
        outputs.append(hidden)
    return np.array(outputs).reshape(-1, hidden.shape[0]), hidden


def numpy_simple_rnn(inputs, weights, hidden):
    kernel, recurrent_kernel, bias = (w.astype(np.float64) for w in weights)
    outputs = []
    for row in inputs:
        hidden = np.tanh(row @ kernel + hidden @ recurrent_kernel + bias)
        outputs.append(hidden)
    return np.array(outputs).reshape(-1, hidden.shape[0]), hidden


NUMPY_CELLS = {"lstm": numpy_lstm, "gru": numpy_gru, "simple_rnn": numpy_simple_rnn}
KERAS_CELLS = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "simple_rnn": keras.layers.SimpleRNN,
}
all_cells = pytest.mark.parametrize("cell", NUMPY_CELLS)


def layer_with_random_weights(layer, width=3):
    layer(tf.zeros([1, 2, width]))
    layer.set_weights([draw(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    return layer


@all_cells
@pytest.mark.parametrize("reverse", [False, True])
def test_equals_numpy_row_by_row_whatever_the_padding(reverse, cell):
    layer = layer_with_random_weights(Recurrent(5, cell=cell, reverse=reverse))
    inputs, state = (
        draw(4, 7, 3),
        tuple(draw(4, 5, seed=1 + i) for i in range(len(layer.cell.bounded))),
    )
    for side in ("right", "left"):
        places = np.arange(7)[None]
        lengths = np.array(LENGTHS)[:, None]
        padding_mask = places < lengths if side == "right" else places >= 7 - lengths
        outputs, last = layer(inputs, initial_state=state, padding_mask=padding_mask)
        for b in range(4):
            order = slice(None, None, -1) if reverse else slice(None)
            expected, *expected_state = NUMPY_CELLS[cell](
                inputs[b, padding_mask[b]][order],
                layer.get_weights(),
                *(tensor[b] for tensor in state),
            )
            np.testing.assert_allclose(
                outputs.numpy()[b, padding_mask[b]], expected[order], atol=1e-5
            )
            for one, other in zip(last, expected_state, strict=True):
                np.testing.assert_allclose(one[b], other, atol=1e-5)


def test_a_reset_begins_anew():
    layer = layer_with_random_weights(Recurrent(5))
    inputs, state = draw(2, 6, 3), (draw(2, 5, seed=1), draw(2, 5, seed=2))
    resets = np.array([[0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]], bool)
    for length in (6, 1):  # one step has no loop
        outputs, _ = layer(inputs[:, :length], initial_state=state, resets=resets[:, :length])
        for b, starts in enumerate([[0, 3, 6], [0, 5, 6]]):
            for first, last in itertools.pairwise(min(start, length) for start in starts):
                begin = (
                    [np.zeros(5)] * 2 if resets[b, first % 6] else [tensor[b] for tensor in state]
                )
                expected, *_ = numpy_lstm(inputs[b, first:last], layer.get_weights(), *begin)
                np.testing.assert_allclose(outputs[b, first:last], expected, atol=1e-5)


@all_cells
def test_recurrent_dropout_drops_the_same_units_at_every_step(cell):
    layer = layer_with_random_weights(Recurrent(40, cell=cell, recurrent_dropout=0.4, seed=2))
    seen = []
    original = layer.recurrent_dropout.call
    layer.recurrent_dropout.call = lambda *a, **k: seen.append(original(*a, **k)) or seen[-1]
    inputs = draw(3, 4, 3)
    outputs, state = layer(inputs, training=True)
    (mask,) = seen
    assert set(np.unique(mask)) == {0.0, np.float32(1 / 0.6)}
    assert not np.array_equal(mask[0], mask[1])
    for b in range(3):  # the mask belongs to the rows of the recurrent kernel
        weights = layer.get_weights()
        weights[1] = weights[1] * mask[b].numpy()[:, None]
        expected, *_ = NUMPY_CELLS[cell](inputs[b], weights, *([np.zeros(40)] * len(state)))
        np.testing.assert_allclose(outputs[b], expected, atol=1e-4)
    np.testing.assert_array_equal(layer(inputs)[0], layer(inputs)[0])
    assert len(seen) == 1


@all_cells
def test_equals_keras_with_its_weights_in_outputs_states_and_gradients(cell):
    reference = KERAS_CELLS[cell](5, return_sequences=True, return_state=True)
    inputs = tf.constant(draw(4, 7, 3))
    reference(inputs)
    layer = layer_with_random_weights(Recurrent(5, cell=cell))
    kernel, recurrent_kernel, *biases = layer.get_weights()
    reference.set_weights(
        [kernel, recurrent_kernel, np.stack(biases) if len(biases) > 1 else biases[0]]
    )
    mask = tf.sequence_mask([7, 1, 4, 2], 7)

    @tf.function(autograph=False)
    def run(call, variables):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, *state = call()
            kept = outputs * tf.cast(mask, tf.float32)[..., None]
            loss = tf.reduce_sum(kept**2) + tf.reduce_sum(tf.reduce_prod(state, axis=0))
        by_inputs, *by_weights = tape.gradient(loss, [inputs, *variables])
        by_bias = [tf.reshape(g, [-1]) for g in by_weights[2:]]
        return (kept, *state), [by_inputs, *by_weights[:2], tf.concat(by_bias, axis=0)]

    def ours():
        outputs, state = layer(inputs, padding_mask=mask)
        return outputs, *state

    expected = run(
        lambda: reference(inputs, mask=mask), [v.value for v in reference.trainable_variables]
    )
    actual = run(ours, [v.value for v in layer.trainable_variables])
    for one, other in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_bidirectional_equals_keras():
    layer = Bidirectional(10)
    inputs, mask = draw(3, 6, 4), tf.sequence_mask([6, 2, 3], 6)
    layer(inputs)
    reference = keras.layers.Bidirectional(
        keras.layers.LSTM(5, return_sequences=True, return_state=True)
    )
    reference(inputs)
    reference.set_weights(layer.get_weights())
    outputs, state = layer(inputs, padding_mask=mask)
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
            outputs, state = layer(inputs, padding_mask=mask)
            loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(state[1])
        return tape.gradient(loss, [v.value for v in layer.trainable_variables])

    dynamic = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.bool)]
    static = [tf.TensorSpec([3, 6, 3]), tf.TensorSpec([3, 6], tf.bool)]
    expected = gradients(tf.constant(inputs), tf.constant(mask))
    for signature in (dynamic, static):
        for one, other in zip(
            tf.function(gradients, input_signature=signature, jit_compile=jit, autograph=False)(
                inputs, mask
            ),
            expected,
            strict=True,
        ):
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (0, 0, 3)])
@pytest.mark.parametrize("layer", [Recurrent(4), Bidirectional(4)], ids=["one", "both"])
def test_no_rows_and_no_steps(shape, layer):
    run = tf.function(
        lambda x, padding_mask: layer(x, padding_mask=padding_mask),
        input_signature=[tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.bool)],
        autograph=False,
    )
    for call in (run, lambda x, padding_mask: layer(x, padding_mask=padding_mask)):
        outputs, state = call(tf.zeros(shape), tf.ones(shape[:2], tf.bool))
        assert outputs.shape == (*shape[:2], 4)
        assert all(t.shape == (shape[0], 4) and not np.any(t) for t in state)


def test_gradients_without_steps_are_zero():
    layer = layer_with_random_weights(Recurrent(4))

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])], autograph=False)
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

    padding_mask = tf.constant([[True, True], [True, True], [True, False]])
    first = (tf.zeros([2, 1]), tf.ones([2, 1]))
    (sums, powers), last = recurrent.scan(
        step, first, tf.ones([3, 2, 1]), padding_mask=padding_mask, record=(0, 1)
    )
    np.testing.assert_array_equal(sums[:, :, 0], [[1, 1], [2, 2], [3, 2]])
    np.testing.assert_array_equal(powers[:, :, 0], [[2, 2], [4, 4], [8, 4]])
    np.testing.assert_array_equal(last[1][:, 0], [8, 4])


def test_errors():
    with pytest.raises(
        UserError, match="recurrent cell 'lst': expected one of lstm, gru, simple_rnn"
    ):
        Recurrent(3, cell="lst")
    with pytest.raises(UserError, match="width 5: expected an even width"):
        Bidirectional(5)
