"""The recurrent language model: against NumPy, without a trace of padding, step by step, packed,
carried, saved.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.recurrent_test import NUMPY_CELLS
from tests.support.thorough import cases
from tf_textgen.errors import UserError
from tf_textgen.models.rnn_lm import RNNLM
from tf_textgen.models.rnn_lm_config import RNNLMConfig

KINDS = {
    "lstm": {"embedding_width": 6, "residual": True},
    "gru": {"cell": "gru", "layer_norm": True, "residual": True, "num_layers": 3},
    "simple_rnn": {
        "cell": "simple_rnn",
        "tied_embeddings": False,
        "embedding_width": 6,
        "layer_norm": True,
    },
}
all_kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind="lstm", dtype=None, **values):
    sizes = {"vocabulary_size": 13, "width": 8, "dropout": 0.0, **KINDS[kind], **values}
    model = RNNLM(RNNLMConfig(**sizes), seed=3, dtype=dtype).initialize()
    noise = np.random.default_rng(0)
    for weight in model.trainable_variables:  # biases and scales must count
        weight.assign_add(0.3 * noise.normal(size=weight.shape))
    return model


@functools.cache
def shared(kind, dtype=None):
    """A model of this kind for tests that leave its weights alone."""
    return make(kind, dtype)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 13, shape).astype(np.int32)


def numpy_weights(model):
    return {
        v.path.split("/", 1)[1]: v.numpy().astype(np.float64) for v in model.trainable_variables
    }


def numpy_hidden(model, tokens):
    """The last hidden states [T, D] of one text, in float64."""
    weights, config = numpy_weights(model), model.config

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        scale, offset = weights[f"recurrent/{name}/scale"], weights[f"recurrent/{name}/offset"]
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + offset

    x = weights["embedding/table"][tokens]
    for i in range(config.num_layers):
        read = norm(f"norm_{i}", x) if config.layer_norm else x
        own = [v for name, v in weights.items() if name.startswith(f"recurrent/layer_{i}/")]
        states = 2 if config.cell == "lstm" else 1
        hidden, *_ = NUMPY_CELLS[config.cell](read, own, *([np.zeros(config.width)] * states))
        x = x + hidden if config.residual and i else hidden
    if config.layer_norm:
        x = norm(f"norm_{config.num_layers}", x)
    return x


def numpy_logits(model, tokens):
    """Logits [T, V] of one text, in float64."""
    weights, config, x = numpy_weights(model), model.config, numpy_hidden(model, tokens)
    if not config.tied_embeddings:
        return x @ weights["logits/kernel"] + weights["logits/bias"]
    if config.token_width != config.width:
        x = x @ weights["output_projection/kernel"]
    return x @ weights["embedding/table"].T


@all_kinds
def test_call_equals_numpy(kind):
    tokens = draw(2, 5)
    logits = shared(kind)({"target_tokens": tokens})
    assert logits.shape == (2, 5, 13) and logits.dtype == tf.float32
    for row, expected in zip(logits, tokens, strict=True):
        np.testing.assert_allclose(row, numpy_logits(shared(kind), expected), rtol=1e-4, atol=1e-4)


@all_kinds
def test_step_by_step_equals_teacher_forcing_whatever_the_padding(kind):
    model, tokens, lengths = shared(kind), draw(3, 7), [4, 1, 2]
    full = model({"target_tokens": tokens})
    for width in (4, 6):  # left-padded with an id that would be seen if it counted
        prompts = [
            [5] * (width - n) + row[:n].tolist() for n, row in zip(lengths, tokens, strict=True)
        ]
        features = {"target_tokens": tf.constant(prompts), "target_lengths": tf.constant(lengths)}
        logits, state = model.start(features, width + 3)
        for t in range(3):
            for b, n in enumerate(lengths):
                np.testing.assert_allclose(logits[b], full[b, n - 1 + t], atol=1e-5)
            logits, state = model.step(tokens[np.arange(3), np.array(lengths) + t], state)
    assert all(tensor.shape[0] == 3 for tensor in tf.nest.flatten(state))


@all_kinds
def test_segments_of_a_row_do_not_know_of_each_other(kind):
    model = shared(kind)
    tokens = draw(2, 9)
    segments = np.array([[1, 1, 1, 2, 2, 2, 2, 3, 0], [1, 1, 2, 3, 3, 0, 0, 0, 0]], np.int32)
    packed = model({"target_tokens": tokens, "segment_ids": segments})
    for b in range(2):
        for segment in range(1, 4):
            (places,) = np.nonzero(segments[b] == segment)
            alone = model({"target_tokens": tokens[b : b + 1, places]})
            np.testing.assert_allclose(packed[b, places[0] : places[-1] + 1], alone[0], atol=1e-5)


@all_kinds
def test_no_rows(kind):
    model = shared(kind)
    assert model({"target_tokens": tf.zeros([0, 4], tf.int32)}).shape == (0, 4, 13)
    features = {
        "target_tokens": tf.zeros([0, 2], tf.int32),
        "target_lengths": tf.zeros([0], tf.int32),
    }
    logits, state = model.start(features, 5)
    assert logits.shape == model.step(tf.zeros([0], tf.int32), state)[0].shape == (0, 13)


@all_kinds
def test_mixed_bfloat16_keeps_logits_and_states_float32(kind):
    model, exact, tokens = shared(kind, "mixed_bfloat16"), shared(kind), draw(2, 6)
    logits, expected = model({"target_tokens": tokens}), exact({"target_tokens": tokens})
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, atol=0.3)
    logits, state = model.start(
        {"target_tokens": tokens[:, :3], "target_lengths": tf.constant([3, 3])}, 4
    )
    logits, state = model.step(tokens[:, 3], state)
    np.testing.assert_allclose(logits, expected[:, 3], atol=0.3)
    assert {tensor.dtype for tensor in tf.nest.flatten(state)} == {tf.float32}


def test_keras_file_round_trip(tmp_path):
    model = shared("gru", "mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config and loaded.dtype_policy.name == model.dtype_policy.name
    features = {"target_tokens": draw(2, 4)}
    np.testing.assert_array_equal(loaded(features), model(features))


def test_dropout_acts_in_training_alone():
    features = {"target_tokens": draw(2, 4)}
    for options in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        model = make(**options)
        np.testing.assert_array_equal(model(features), model(features))
        assert not np.allclose(model(features, training=True), model(features, training=True))


def test_the_seed_decides_the_weights():
    config = RNNLMConfig(vocabulary_size=13, width=4)
    one, other, third = (RNNLM(config, seed=seed).initialize() for seed in (5, 5, 6))
    for a, b in zip(one.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(one.trainable_variables[0], third.trainable_variables[0])


def streams(tokens, context, resets=()):
    """Batches `(features, labels, weights)` of the rows of tokens `[B, N + 1]`; `resets` are
    places.
    """
    rows, length = tokens.shape[0], tokens.shape[1] - 1
    zeroed = np.zeros((rows, length), np.int32)
    zeroed[:, [0, *resets]] = 1
    arrays = (
        {"target_tokens": tokens[:, :-1], "resets": zeroed},
        tokens[:, 1:],
        np.ones((rows, length), np.float32),
    )
    flat = tf.nest.map_structure(lambda a: np.stack(np.split(a, length // context, axis=1)), arrays)
    return tf.data.Dataset.from_tensor_slices(flat)


def nats(logits, labels):
    logits = np.asarray(logits, np.float64)
    log_sum = np.log(np.exp(logits).sum(-1))
    return (log_sum - np.take_along_axis(logits, labels[..., None], -1)[..., 0]).sum()


@pytest.mark.parametrize("way", cases([*KINDS, "lstm by xla"], always=["gru"]))
def test_carried_state_reads_a_stream_as_one_pass_does(way):
    kind, jit_compile = way.split()[0], way.endswith("xla")
    model, tokens = make(kind), draw(3, 13, seed=4)
    model.compile(keras.optimizers.SGD(0.0), carried_rows=3, jit_compile=jit_compile)
    expected = sum(
        nats(model({"target_tokens": tokens[:, a:b]}), tokens[:, a + 1 : b + 1])
        for a, b in ((0, 7), (7, 12))
    )
    data = streams(tokens, 4, resets=[7])
    for _ in range(2):  # a pass begins with zeros: its first tokens are resets
        history = model.fit(data, verbose=0, shuffle=False).history
        assert history["loss"] == [pytest.approx(expected / 36, rel=1e-5)]
        results = model.evaluate(data, verbose=0, return_dict=True)
        assert results["loss"] == pytest.approx(expected / 36, rel=1e-5) and results["tokens"] == 36
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    data = data.map(lambda features, *rest: ({"target_tokens": features["target_tokens"]}, *rest))
    assert model.evaluate(data, verbose=0, return_dict=True)["loss"] != pytest.approx(
        expected / 36, rel=1e-3
    )


def test_gradients_end_at_the_border_of_a_batch():
    """Truncated back-propagation: the second batch's gradient takes the carried state as given."""
    model, tokens = make("gru"), draw(2, 9, seed=5)
    _, second = streams(tokens, 4)
    model.compile(keras.optimizers.SGD(1.0), carried_rows=2, jit_compile=False)
    logits, carry = model.call_carried(
        {"target_tokens": tokens[:, :4], "resets": np.ones((2, 4), np.int32)}, None
    )
    model._carried.write(carry)
    with tf.GradientTape() as tape:
        logits, _ = model.call_carried(second[0], tf.nest.map_structure(tf.stop_gradient, carry))
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(second[1], logits))
    expected = [
        v.numpy() - tf.convert_to_tensor(g).numpy()
        for v, g in zip(
            model.trainable_variables,
            tape.gradient(loss, [v.value for v in model.trainable_variables]),
            strict=True,
        )
    ]
    model.train_on_batch(*second)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-5)


def test_evaluation_leaves_the_state_of_training_alone():
    model, (first, second) = make(), streams(draw(2, 9), 4)
    model.compile(keras.optimizers.SGD(0.1), carried_rows=2, jit_compile=False)
    model.train_on_batch(*first)
    before = model.carried_state.gather()
    assert set(before) == {f"state_{i}" for i in range(4)} and all(
        np.any(value) for value in before.values()
    )
    model.evaluate(streams(draw(2, 9, seed=9), 4), verbose=0)
    for name, value in model.carried_state.gather().items():
        np.testing.assert_array_equal(value, before[name])
    model.train_on_batch(*second)
    assert not any(
        np.array_equal(value, before[name]) for name, value in model.carried_state.gather().items()
    )


def test_carried_states_are_no_weights(tmp_path):
    model, batch = make(), next(iter(streams(draw(2, 5), 4)))
    paths = [variable.path for variable in model.variables]
    model.compile(keras.optimizers.SGD(0.1), carried_rows=2, jit_compile=False)
    model.train_on_batch(*batch)
    assert [variable.path for variable in model.variables] == paths
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # The batch begins with resets, so that what was carried does not matter.
    for each in (
        model,
        loaded,
    ):
        each.train_on_batch(*batch)
    assert not any(
        np.any(a != b) for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True)
    )


def test_what_cannot_be_carried_is_said():
    model, (first,) = make(), streams(draw(2, 5), 4)
    model.compile(keras.optimizers.SGD(0.1), carried_rows=3, run_eagerly=True)
    with pytest.raises(
        UserError,
        match="a batch of 2 rows for a state of 3 that was carried along: expected batches",
    ):
        model.train_on_batch(*first)
    model.compile(keras.optimizers.SGD(0.1), carried_rows=2, run_eagerly=True)
    with pytest.raises(
        UserError,
        match=r"features target_tokens for a model that carries its state: expected resets",
    ):
        model.test_on_batch({"target_tokens": first[0]["target_tokens"]}, first[1])


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"cell": "lst"},
            "--rnn_lm.cell=lst: expected one of lstm, gru, simple_rnn; did you mean 'lstm'",
        ),
        (
            {"residual": True, "num_layers": 1},
            "residual with --rnn_lm.num_layers=1: expected at least 2 layers",
        ),
        ({"pad_id": 13}, "pad_id=13: expected an id below vocabulary_size=13"),
        ({"width": 0}, "--rnn_lm.width=0: expected a value at least 1"),
        (
            {"recurrent_dropout": 1.0},
            "--rnn_lm.recurrent_dropout=1: expected a value at least 0 and below 1",
        ),
    ],
)
def test_bad_configurations_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        RNNLMConfig(**{"vocabulary_size": 13, "width": 8, **values})
