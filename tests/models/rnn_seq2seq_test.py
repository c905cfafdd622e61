"""The recurrent encoder-decoder against NumPy, and what is its own; `tests/conformance` checks the contract."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.recurrent_attention_test import attentive_numpy, softmax
from tests.layers.recurrent_test import numpy_lstm
from tf_textgen.errors import UserError
from tf_textgen.models.base import State
from tf_textgen.models.rnn_seq2seq import RNNSeq2Seq
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig

KINDS = {
    "none": {"attention": "none", "bridge": "copy", "tied_embeddings": True},
    "bahdanau": {"attention": "bahdanau", "encoder_width": 12, "encoder_layers": 1},
    "luong_dot": {"attention": "luong_dot", "bridge": "zero", "bidirectional": False, "shared_embeddings": True},
    "luong_general": {"attention": "luong_general", "encoder_width": 12, "tied_embeddings": True},
    "luong_scaled": {"attention": "luong_scaled", "bidirectional": False, "bridge": "copy", "decoder_layers": 1},
}
other_kinds = pytest.mark.parametrize("kind", ["luong_dot", "luong_scaled"])  # than those of `tests/conformance`


def make(kind="luong_general", dtype=None, **values):
    sizes = {"vocabulary_size": 13, "width": 8, "embedding_width": 6, "dropout": 0.0, **KINDS[kind], **values}
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
    source = noise.integers(1, 13, (rows, places)) * (np.arange(places) < np.array(source_lengths)[:, None])
    return {
        "source_tokens": tf.constant(source, tf.int32),
        "source_lengths": tf.constant(source_lengths, tf.int32),
        "target_tokens": tf.constant(noise.integers(1, 13, (rows, target_length)), tf.int32),
    }


def prompts_of(features, lengths):
    """The first tokens of each target, left-padded with an id that would be seen if it counted."""
    places = max(lengths)
    rows = [
        [5] * (places - n) + list(row[:n]) for row, n in zip(features["target_tokens"].numpy(), lengths, strict=True)
    ]
    return {**features, "target_tokens": tf.constant(rows, tf.int32), "target_lengths": tf.constant(lengths, tf.int32)}


def numpy_logits(model, source, target):
    """Logits [T, V] of one unpadded row, for bidirectional encoders, in float64."""
    weights = {v.path.split("/", 1)[1]: v.numpy().astype(np.float64) for v in model.trainable_variables}

    def lstm(name, inputs, state=None):
        names = [f"{name}/{part}" for part in ("kernel", "recurrent_kernel", "bias")]
        zero = np.zeros(weights[names[1]].shape[0])
        return numpy_lstm(inputs, [weights[n] for n in names], *(state or (zero, zero)))

    config = model.config
    values, states = weights["source_embedding/table"][source], []
    for i in range(config.encoder_layers):
        ahead, *ahead_state = lstm(f"encoder/layer_{i}/forward", values)
        back, *back_state = lstm(f"encoder/layer_{i}/backward", values[::-1])
        values = np.concatenate([ahead, back[::-1]], -1)
        states.append([np.concatenate(pair) for pair in zip(ahead_state, back_state, strict=True)])
    if config.bridge == "dense":
        first = []
        for i in range(config.decoder_layers):
            hidden, carry = states[max(i + len(states) - config.decoder_layers, 0)]
            name = f"bridge/layer_{i}_state_"
            hidden = np.tanh(hidden @ weights[f"{name}0/kernel"] + weights[f"{name}0/bias"])
            first.append((hidden, carry @ weights[f"{name}1/kernel"] + weights[f"{name}1/bias"]))
    else:
        first = states
    embedded = outputs = weights["target_embedding/table"][target]
    keys = values @ weights["memory/keys/kernel"] if config.attention != "none" else None
    for i in range(config.decoder_layers):
        if config.attention == "bahdanau" and i == 0:
            parts = ("kernel", "recurrent_kernel", "bias", "context_kernel", "query_kernel", "score_vector")
            own = [weights[f"decoder/layer_0/{part}"] for part in parts]
            outputs, contexts, *_ = attentive_numpy(outputs, keys, values, own, *first[0])
        else:
            below = np.concatenate([outputs, contexts], -1) if config.attention == "bahdanau" else outputs
            outputs, *_ = lstm(f"decoder/layer_{i}", below, first[i])
    kernel = weights["readout/projection/kernel"]
    if config.attention == "none":
        vectors = outputs @ kernel
    elif config.attention == "bahdanau":
        pairs = np.concatenate([outputs, embedded, contexts], -1) @ kernel + weights["readout/projection/bias"]
        vectors = np.maximum(*np.split(pairs, 2, axis=-1))
    else:
        contexts = softmax(outputs @ keys.T) @ values
        vectors = np.tanh(np.concatenate([contexts, outputs], -1) @ kernel)
    if config.tied_embeddings:
        return vectors @ weights["target_embedding/table"].T
    return vectors @ weights["output_projection/kernel"] + weights["output_projection/bias"]


@pytest.mark.parametrize("kind", ["none", "bahdanau", "luong_general"])
def test_call_equals_numpy_row_by_row(kind):
    model = shared(kind)
    features = draw_features([4, 1, 6], 5)
    logits = model(features)
    assert logits.shape == (3, 5, 13) and logits.dtype == tf.float32
    for b, length in enumerate([4, 1, 6]):
        source, target = features["source_tokens"][b, :length].numpy(), features["target_tokens"][b].numpy()
        np.testing.assert_allclose(logits[b], numpy_logits(model, source, target), rtol=1e-4, atol=1e-4)


@other_kinds
def test_source_padding_never_changes_results(kind):
    model = shared(kind)
    features = draw_features([1, 60], 4)
    together = model(features)
    for b, length in enumerate([1, 60]):
        alone = {name: tensor[b : b + 1] for name, tensor in features.items()}
        alone["source_tokens"] = alone["source_tokens"][:, :length]
        np.testing.assert_allclose(model(alone)[0], together[b], atol=1e-5)


@other_kinds
def test_start_and_steps_equal_call_with_left_padded_prompts(kind):
    model = shared(kind)
    features = draw_features([3, 1, 5], 6)
    expected = model(features).numpy()
    lengths = [3, 1, 2]
    logits, state = tf.function(model.start)(prompts_of(features, lengths), 6)
    step = tf.function(model.step)
    targets = features["target_tokens"].numpy()
    for new in range(3):
        at = np.array(lengths) + new
        np.testing.assert_allclose(logits, expected[np.arange(3), at - 1], atol=1e-5)
        logits, state = step(tf.constant(targets[np.arange(3), at]), state)


def test_mixed_bfloat16_keeps_states_in_float32():
    model = make("luong_general", "mixed_bfloat16")
    logits, state = model.start(prompts_of(draw_features([3, 1, 5], 6), [1, 1, 1]), 6)
    _, state = model.step(tf.argmax(logits, axis=-1, output_type=tf.int32), state)
    assert isinstance(state, State)
    assert {t.dtype for t in tf.nest.flatten(state.per_step)} == {tf.float32}
    assert all(t.dtype in (tf.bfloat16, tf.bool) for t in tf.nest.flatten(state.per_source))


def test_a_training_step_under_xla_equals_one_without():
    features = draw_features([3, 1, 5], 6)
    labels = tf.roll(features["target_tokens"], -1, axis=1)
    data = (features, labels, tf.ones([3, 6]))
    # Lengths unknown when traced, as with length buckets.
    signature = tf.nest.map_structure(lambda t: tf.TensorSpec([None] * len(t.shape), t.dtype), data)
    weights = []
    for jit in (False, True):
        model = make("bahdanau", bidirectional=False, decoder_layers=1)  # compiles in seconds
        model.compile(keras.optimizers.SGD(1.0))
        model.optimizer.build(model.trainable_variables)
        tf.function(model.train_step, input_signature=[signature], jit_compile=jit)(data)
        weights.append([v.numpy() for v in model.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_dropout_acts_in_training_alone():
    model = make("luong_scaled", dropout=0.5)
    features = draw_features([3, 1], 4)
    np.testing.assert_array_equal(model(features), model(features))
    assert not np.allclose(model(features, training=True), model(features, training=True))


def test_the_seed_decides_the_weights():
    config = RNNSeq2SeqConfig(vocabulary_size=13, width=4, embedding_width=4, attention="none", bidirectional=False)
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
    with pytest.raises(UserError, match=r"lack 'source_lengths': expected source_tokens, .*use a dataset of pairs"):
        shared("luong_general").call(features)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"width": 7}, "bidirectional with an encoder of width 7: expected an even width"),
        ({"bridge": "zero", "attention": "none"}, "would never see the source; choose another bridge"),
        ({"bridge": "copy", "encoder_width": 4}, "bridge copy with .*encoder_width=4 .*choose the dense bridge"),
        ({"attention": "luong_dot", "encoder_width": 4}, "luong_dot with .*choose luong_general"),
        ({"shared_embeddings": True, "source_vocabulary_size": 9}, "with 9 source and 13 target tokens"),
        ({"pad_id": 13}, "pad_id=13: expected an id below the smaller vocabulary's size 13"),
        ({"attention": "luong"}, "expected one of none, bahdanau, luong_dot"),
        ({"decoder_layers": 0}, "decoder_layers=0: expected a value at least 1"),
    ],
)
def test_bad_configurations_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        RNNSeq2SeqConfig(**{"vocabulary_size": 13, "width": 8, **values})
