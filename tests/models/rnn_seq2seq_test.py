"""The recurrent encoder-decoder: against NumPy, without a trace of padding, step by step, saved,
compiled, trained.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.recurrent_attention_test import attentive_numpy, softmax
from tests.layers.recurrent_test import NUMPY_CELLS
from tests.support.thorough import cases
from tf_textgen.errors import UserError
from tf_textgen.models.base import State
from tf_textgen.models.rnn_seq2seq import RNNSeq2Seq
from tf_textgen.models.rnn_seq2seq_config import CELLS, RNNSeq2SeqConfig

KINDS = {
    "none": {"attention": "none", "bridge": "copy", "tied_embeddings": True},
    "bahdanau": {"attention": "bahdanau", "encoder_width": 12, "encoder_layers": 1},
    "luong_dot": {"attention": "luong_dot", "bridge": "zero", "bidirectional": False, "shared_embeddings": True},
    "luong_general": {"attention": "luong_general", "encoder_width": 12, "tied_embeddings": True},
    "luong_scaled": {"attention": "luong_scaled", "bidirectional": False, "bridge": "copy", "decoder_layers": 1},
    "feeding": {"attention": "luong_general", "input_feeding": True, "tied_embeddings": True, "encoder_layers": 1},
    "feeding_gru": {
        "attention": "luong_scaled", "input_feeding": True, "cell": "gru", "decoder_layers": 3, "residual": True,
    },
    "gru": {"attention": "luong_general", "cell": "gru", "residual": True},
    "simple_rnn": {"attention": "none", "cell": "simple_rnn", "embedding_width": 8},
}  # fmt: skip
all_kinds = pytest.mark.parametrize(
    "kind", cases(KINDS, always=("none", "bahdanau", "luong_general", "feeding"))
)


def make(kind="luong_general", dtype=None, **values):
    sizes = {
        "vocabulary_size": 13,
        "width": 8,
        "embedding_width": 6,
        "dropout": 0.0,
        **KINDS[kind],
        **values,
    }
    model = RNNSeq2Seq(RNNSeq2SeqConfig(**sizes), seed=3, dtype=dtype).initialize()
    noise = np.random.default_rng(0)
    for weight in model.trainable_variables:  # biases and scores must count
        weight.assign_add(0.3 * noise.normal(size=weight.shape))
    return model


@functools.cache
def shared(kind, dtype=None):
    """A model of this kind for tests that leave its weights alone."""
    return make(kind, dtype)


def draw_features(source_lengths, target_length, width=None, seed=0):
    noise = np.random.default_rng(seed)
    rows, places = len(source_lengths), width or max(source_lengths, default=0)
    source = noise.integers(1, 13, (rows, places)) * (
        np.arange(places) < np.array(source_lengths)[:, None]
    )
    return {
        "source_tokens": tf.constant(source, tf.int32),
        "source_lengths": tf.constant(source_lengths, tf.int32),
        "target_tokens": tf.constant(noise.integers(1, 13, (rows, target_length)), tf.int32),
    }


def prompts_of(features, lengths):
    """The first tokens of each target, left-padded with an id that would be seen if it counted."""
    places = max(lengths)
    rows = [
        [5] * (places - n) + list(row[:n])
        for row, n in zip(features["target_tokens"].numpy(), lengths, strict=True)
    ]
    return {
        **features,
        "target_tokens": tf.constant(rows, tf.int32),
        "target_lengths": tf.constant(lengths, tf.int32),
    }


def numpy_weights(model):
    return {
        v.path.split("/", 1)[1]: v.numpy().astype(np.float64) for v in model.trainable_variables
    }


def numpy_layer(config, weights, name, inputs, state=None):
    """Outputs and last state of one recurrent layer over [T, D]."""
    states_of_cell = 2 if config.cell == "lstm" else 1
    names = [f"{name}/{part}" for part in ("kernel", "recurrent_kernel", "bias", "recurrent_bias")]
    own = [weights[n] for n in names if n in weights]
    zero = np.zeros(own[1].shape[0])
    return NUMPY_CELLS[config.cell](inputs, own, *(state or [zero] * states_of_cell))


def numpy_memory(config, weights, source):
    """Outputs [S, M] and last states of a bidirectional encoder over one unpadded row,
    in float64.
    """
    run = functools.partial(numpy_layer, config, weights)
    table = "target_embedding/table" if config.shared_embeddings else "source_embedding/table"
    values, states = weights[table][source], []
    for i in range(config.encoder_layers):
        ahead, *ahead_state = run(f"encoder/layer_{i}/forward", values)
        back, *back_state = run(f"encoder/layer_{i}/backward", values[::-1])
        both = np.concatenate([ahead, back[::-1]], -1)
        values = values + both if config.residual and i else both
        states.append([np.concatenate(pair) for pair in zip(ahead_state, back_state, strict=True)])
    return values, states


def numpy_logits(model, source, target):
    """Logits [T, V] of one unpadded row, for bidirectional encoders, in float64."""
    weights, config = numpy_weights(model), model.config
    run = functools.partial(numpy_layer, config, weights)

    def attend(query):
        return (
            softmax(
                query @ keys.T * (config.width**-0.5 if config.attention == "luong_scaled" else 1.0)
            )
            @ values
        )

    values, states = numpy_memory(config, weights, source)
    if config.bridge == "dense":
        first = []
        for i in range(config.decoder_layers):
            partner, name = (
                states[max(i + len(states) - config.decoder_layers, 0)],
                f"bridge/layer_{i}_state_",
            )
            made = [
                t @ weights[f"{name}{j}/kernel"] + weights[f"{name}{j}/bias"]
                for j, t in enumerate(partner)
            ]
            first.append((np.tanh(made[0]), *made[1:]))
    else:
        first = states
    embedded = outputs = weights["target_embedding/table"][target]
    keys = values @ weights["memory/keys/kernel"] if "memory/keys/kernel" in weights else values
    if config.input_feeding:
        return numpy_output(
            model, weights, numpy_feeding(config, weights, embedded, first, run, attend)
        )
    for i in range(config.decoder_layers):
        if config.attention == "bahdanau" and i == 0:
            parts = (
                "kernel",
                "recurrent_kernel",
                "bias",
                "context_kernel",
                "query_kernel",
                "score_vector",
            )
            own = [weights[f"decoder/layer_0/{part}"] for part in parts]
            outputs, contexts, *_ = attentive_numpy(outputs, keys, values, own, *first[0])
        else:
            below = (
                np.concatenate([outputs, contexts], -1)
                if config.attention == "bahdanau"
                else outputs
            )
            hidden, *_ = run(f"decoder/layer_{i}", below, first[i])
            outputs = outputs + hidden if config.residual and i else hidden
    kernel = weights.get("readout/projection/kernel")
    if config.attention == "none":
        vectors = outputs if kernel is None else outputs @ kernel
    elif config.attention == "bahdanau":
        pairs = (
            np.concatenate([outputs, embedded, contexts], -1) @ kernel
            + weights["readout/projection/bias"]
        )
        vectors = np.maximum(*np.split(pairs, 2, axis=-1))
    else:
        vectors = np.tanh(np.concatenate([attend(outputs), outputs], -1) @ kernel)
    return numpy_output(model, weights, vectors)


def numpy_feeding(config, weights, embedded, states, run, attend):
    """The attentional vectors, one step and one layer at a time."""
    weights["decoder/layer_0/kernel"] = np.concatenate(
        [weights["decoder/layer_0/kernel"], weights["decoder/feed_kernel"]]
    )
    vectors = [np.zeros(weights["decoder/vector_kernel"].shape[1])]
    for token in embedded:
        below = np.concatenate([token, vectors[-1]])
        for i in range(config.decoder_layers):
            (hidden,), *states[i] = run(f"decoder/layer_{i}", below[None], states[i])
            below = below + hidden if config.residual and i else hidden
        vectors.append(
            np.tanh(np.concatenate([attend(below), below]) @ weights["decoder/vector_kernel"])
        )
    return np.array(vectors[1:])


def numpy_output(model, weights, vectors):
    config = model.config
    if config.tied_embeddings:
        return vectors @ weights["target_embedding/table"].T
    return vectors @ weights["output_projection/kernel"] + weights["output_projection/bias"]


@pytest.mark.parametrize(
    "kind",
    cases(
        ("none", "bahdanau", "luong_general", "feeding", "feeding_gru", "gru", "simple_rnn"),
        always=("luong_general", "feeding"),
    ),
)
def test_call_equals_numpy_row_by_row(kind):
    model = shared(kind)
    features = draw_features([4, 1, 6], 5)
    logits = model(features)
    assert logits.shape == (3, 5, 13) and logits.dtype == tf.float32
    for b, length in enumerate([4, 1, 6]):
        source, target = (
            features["source_tokens"][b, :length].numpy(),
            features["target_tokens"][b].numpy(),
        )
        np.testing.assert_allclose(
            logits[b], numpy_logits(model, source, target), rtol=1e-4, atol=1e-4
        )


@all_kinds
def test_source_padding_never_changes_results(kind):
    model = shared(kind)
    features = draw_features([1, 60], 4)
    together = model(features)
    for b, length in enumerate([1, 60]):
        alone = {name: tensor[b : b + 1] for name, tensor in features.items()}
        alone["source_tokens"] = alone["source_tokens"][:, :length]
        np.testing.assert_allclose(model(alone)[0], together[b], atol=1e-5)


@all_kinds
def test_start_and_steps_equal_call_with_left_padded_prompts(kind):
    model = shared(kind)
    features = draw_features([3, 1, 5], 6)
    expected = model(features).numpy()
    lengths = [3, 1, 2]
    logits, state = tf.function(model.start, autograph=False)(prompts_of(features, lengths), 6)
    step = tf.function(model.step, autograph=False)
    targets = features["target_tokens"].numpy()
    for new in range(3):
        at = np.array(lengths) + new
        np.testing.assert_allclose(logits, expected[np.arange(3), at - 1], atol=1e-5)
        logits, state = step(tf.constant(targets[np.arange(3), at]), state)


@pytest.mark.thorough
def test_first_steps_of_the_other_cells_with_each_place_of_attention():
    features, lengths = draw_features([2, 3], 3), [2, 1]
    small = {"encoder_layers": 1, "bidirectional": False, "bridge": "copy", "encoder_width": 8}
    for cell in CELLS[1:]:
        for attention in ("none", "bahdanau", "luong_scaled"):
            for feeding in (False, True) if attention == "luong_scaled" else (False,):
                model = make(attention=attention, cell=cell, input_feeding=feeding, **small)
                expected = model(features).numpy()
                logits, state = model.start(prompts_of(features, lengths), 5)
                np.testing.assert_allclose(logits, expected[[0, 1], [1, 0]], atol=1e-5)
                logits, _ = model.step(features["target_tokens"].numpy()[[0, 1], lengths], state)
                np.testing.assert_allclose(logits, expected[[0, 1], lengths], atol=1e-5)


@all_kinds
def test_rows_of_the_state_can_change_places(kind):
    model = shared(kind)
    features = prompts_of(draw_features([3, 1, 5], 6), [3, 1, 2])
    _, state = model.start(features, 6)
    order, tokens = tf.constant([2, 2, 0]), tf.constant([4, 6, 8])
    moved = tf.nest.map_structure(lambda t: tf.gather(t, order), state)
    logits, _ = model.step(tokens, moved)
    _, expected = model.start(
        {name: tf.gather(tensor, order) for name, tensor in features.items()}, 6
    )
    np.testing.assert_allclose(logits, model.step(tokens, expected)[0], atol=1e-5)


@pytest.mark.parametrize(
    "kind",
    cases(("none", "bahdanau", "luong_general", "feeding"), always=("luong_general", "feeding")),
)
def test_a_state_is_a_loop_variable(kind):
    model = shared(kind)
    ids = tf.TensorSpec([None, None], tf.int32)
    count = tf.TensorSpec([None], tf.int32)

    @tf.function(input_signature=[{"source_tokens": ids, "source_lengths": count, "target_tokens": ids,
                                   "target_lengths": count}], autograph=False)  # fmt: skip
    def greedy(features):
        logits, state = model.start(features, 9)

        def body(t, logits, state):
            return t + 1, *model.step(tf.argmax(logits, -1, tf.int32), state)

        return tf.while_loop(lambda t, *_: t < 3, body, (tf.constant(0), logits, state))[1]

    features = prompts_of(draw_features([3, 1, 5], 6), [3, 1, 2])
    logits, state = model.start(features, 9)
    for _ in range(3):
        logits, state = model.step(tf.argmax(logits, -1, tf.int32), state)
    np.testing.assert_allclose(greedy(features), logits, atol=1e-5)
    assert greedy({name: tensor[:0] for name, tensor in features.items()}).shape == (0, 13)


@all_kinds
def test_no_rows(kind):
    model = shared(kind)
    features = {name: tensor[:0] for name, tensor in draw_features([3], 4).items()}
    assert model(features).shape == (0, 4, 13)
    logits, state = model.start({**features, "target_lengths": tf.zeros([0], tf.int32)}, 5)
    assert logits.shape == (0, 13)
    assert model.step(tf.zeros([0], tf.int32), state)[0].shape == (0, 13)
    assert all(t.shape[0] == 0 for t in tf.nest.flatten(state))


@pytest.mark.parametrize(
    "kind",
    cases(
        ("none", "bahdanau", "luong_general", "feeding", "gru"), always=("luong_general", "feeding")
    ),
)
def test_mixed_bfloat16_keeps_logits_and_states_float32(kind):
    model, exact = shared(kind, "mixed_bfloat16"), shared(kind)
    features = draw_features([3, 1, 5], 6)
    logits, expected = model(features), exact(features)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, atol=0.15)
    logits, state = model.start(prompts_of(features, [1, 1, 1]), 6)
    for t in range(1, 4):
        np.testing.assert_allclose(logits, expected[:, t - 1], atol=0.15)
        logits, state = model.step(features["target_tokens"][:, t], state)
    assert isinstance(state, State)
    assert {t.dtype for t in tf.nest.flatten(state.per_step)} == {tf.float32}
    assert all(t.dtype in (tf.bfloat16, tf.bool) for t in tf.nest.flatten(state.per_source))


@pytest.mark.thorough
@pytest.mark.parametrize("kind, dtype", [("feeding_gru", None), ("bahdanau", "mixed_bfloat16")])
def test_keras_file_round_trip(kind, dtype, tmp_path):
    model = shared(kind, dtype)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config and loaded.dtype_policy.name == model.dtype_policy.name
    features = draw_features([3, 1], 4)
    np.testing.assert_array_equal(loaded(features), model(features))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["bahdanau", "feeding"])
def test_a_training_step_under_xla_equals_one_without(kind):
    features = draw_features([3, 1, 5], 6)
    labels = tf.roll(features["target_tokens"], -1, axis=1)
    data = (features, labels, tf.ones([3, 6]))
    # Lengths unknown when traced, as with length buckets.
    signature = tf.nest.map_structure(lambda t: tf.TensorSpec([None] * len(t.shape), t.dtype), data)
    weights = []
    for jit in (False, True):
        model = make(
            kind, bidirectional=False, decoder_layers=1 if kind == "bahdanau" else 2
        )  # compiles in seconds
        model.compile(keras.optimizers.SGD(1.0))
        model.optimizer.build(model.trainable_variables)
        tf.function(
            model.train_step, input_signature=[signature], jit_compile=jit, autograph=False
        )(data)
        weights.append([v.numpy() for v in model.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("kind", ["luong_scaled", "feeding"])
def test_dropout_acts_in_training_alone(kind):
    model = make(kind, dropout=0.5)
    features = draw_features([3, 1], 4)
    np.testing.assert_array_equal(model(features), model(features))
    assert not np.allclose(model(features, training=True), model(features, training=True))


def test_dropout_between_the_layers_of_input_feeding():
    """Other units at each step, none at the token's and the fed vector's way into the
    bottom layer.
    """
    model = make("feeding", dropout=0.5)
    features = draw_features([3, 1], 6)
    embedded, (states, memory) = tf.ones([2, 6, 6]), model._encode(features, training=False)
    with_dropout, _ = model.decoder(embedded, memory, states=states, training=True)
    for dropout in model.decoder.dropouts:
        dropout.rate = 0.0
    without, _ = model.decoder(embedded, memory, states=states, training=True)
    np.testing.assert_allclose(
        without, model.decoder(embedded, memory, states=states)[0], atol=1e-6
    )
    assert not np.allclose(with_dropout[:, 0], without[:, 0])


def test_the_seed_decides_the_weights():
    config = RNNSeq2SeqConfig(
        vocabulary_size=13, width=4, embedding_width=4, attention="none", bidirectional=False
    )
    one, other, third = (RNNSeq2Seq(config, seed=seed).initialize() for seed in (5, 5, 6))
    for a, b in zip(one.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(one.trainable_variables[0], third.trainable_variables[0])


def test_shared_and_tied_embeddings_and_vocabularies():
    weights = make("luong_dot", tied_embeddings=True).trainable_variables
    assert sum(13 in v.shape for v in weights) == 1
    assert len({v.path for v in weights}) == len(weights)
    model = make("luong_scaled", source_vocabulary_size=20)
    assert model.source_embedding.vocabulary_size == 20
    assert model(draw_features([3], 2)).shape == (1, 2, 13)


def test_a_missing_feature_is_named():
    features = draw_features([3], 2)
    del features["source_lengths"]
    with pytest.raises(
        UserError, match=r"lack 'source_lengths': expected source_tokens, .*use a dataset of pairs"
    ):
        shared("luong_general").call(features)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"width": 7}, "bidirectional with an encoder of width 7: expected an even width"),
        (
            {"bridge": "zero", "attention": "none"},
            "would never see the source; choose another bridge",
        ),
        (
            {"bridge": "copy", "encoder_width": 4},
            "bridge copy with .*encoder_width=4 .*choose the dense bridge",
        ),
        ({"attention": "luong_dot", "encoder_width": 4}, "luong_dot with .*choose luong_general"),
        (
            {"shared_embeddings": True, "source_vocabulary_size": 9},
            "with 9 source and 13 target tokens",
        ),
        ({"pad_id": 13}, "pad_id=13: expected an id below vocabulary_size=13"),
        (
            {"input_feeding": True, "attention": "none"},
            "attention=none: there is no attention; expected one of the",
        ),
        (
            {"input_feeding": True, "attention": "bahdanau"},
            "attention=bahdanau: the cell reads the context already",
        ),
        (
            {"residual": True, "encoder_layers": 1, "decoder_layers": 1},
            "expected at least 2 on one of them",
        ),
        ({"cell": "gru2"}, "cell=gru2: expected one of lstm, gru, simple_rnn"),
        ({"attention": "luong"}, "expected one of none, bahdanau, luong_dot"),
        ({"decoder_layers": 0}, "decoder_layers=0: expected a value at least 1"),
    ],
)
def test_bad_configurations_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        RNNSeq2SeqConfig(**{"vocabulary_size": 13, "width": 8, **values})


def test_configurations_and_variables_from_before_the_later_options_still_fit():
    """Runs of 0.1: their `config.json` lacks input feeding and residuals, their checkpoints have
    these paths.
    """
    old = {
        "vocabulary_size": 13, "source_vocabulary_size": None, "pad_id": 0, "cell": "lstm", "encoder_layers": 1,
        "decoder_layers": 1, "width": 8, "encoder_width": None, "embedding_width": 6, "bidirectional": False,
        "bridge": "copy", "attention": "bahdanau", "dropout": 0.0, "tied_embeddings": False, "shared_embeddings": False,
    }  # fmt: skip
    model = RNNSeq2Seq(RNNSeq2SeqConfig.from_json(old)).initialize()
    weights = ("kernel", "recurrent_kernel", "bias")
    paths = {"source_embedding/table", "target_embedding/table", "memory/keys/kernel"}
    paths |= {f"{side}/layer_0/{name}" for side in ("encoder", "decoder") for name in weights}
    paths |= {
        f"decoder/layer_0/{name}" for name in ("context_kernel", "query_kernel", "score_vector")
    }
    paths |= {
        f"{name}/{part}"
        for name in ("readout/projection", "output_projection")
        for part in ("kernel", "bias")
    }
    assert {variable.path for variable in model.variables} == {
        f"rnn_seq2seq/{path}" for path in paths
    }
