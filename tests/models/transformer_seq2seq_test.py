"""The encoder-decoder Transformer against NumPy, and what is its own; `tests/conformance` checks
the contract.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.transformer_lm_test import OPTIONS
from tests.support import transformer_oracle as oracle
from tf_textgen.errors import UserError
from tf_textgen.layers.kv_cache import writes_for_xla
from tf_textgen.models.transformer_seq2seq import TransformerSeq2Seq
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig

V = 11
CHOICES = [
    {},
    *({name: value} for name in ("positions", "attention_score") for value in OPTIONS[name]),
    {"norm_placement": "post", "normalization": "rms_norm", "use_bias": False},
    {
        "num_kv_heads": 2,
        "value_width": 5,
        "embedding_width": 6,
        "activation": "swiglu",
        "head_width": 6,
    },
    {"shared_embeddings": False, "source_vocabulary_size": 7, "norm_placement": "post"},
    {"tied_embeddings": False, "embedding_width": 6, "activation": "gelu", "feed_forward_width": 9},
]


def _model(**options):
    fields = {
        "encoder_layers": 1,
        "decoder_layers": 2,
        "width": 16,
        "max_positions": 12,
        "dropout": 0.0,
        **options,
    }
    model = TransformerSeq2Seq(
        TransformerSeq2SeqConfig(vocabulary_size=V, **fields), seed=1
    ).initialize()
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        mean = 1.0 if weight.path.endswith("scale") else 0.0
        weight.assign(rng.normal(mean, 0.3, weight.shape))
    return model


def _features(source_lengths=(4, 1, 6), target_length=5, source_vocabulary=7):
    rng = np.random.default_rng(0)
    rows, places = len(source_lengths), max(source_lengths)
    return {
        "source_tokens": rng.integers(0, source_vocabulary, (rows, places)).astype(np.int32),
        "source_lengths": np.array(source_lengths, np.int32),
        "target_tokens": rng.integers(0, V, (rows, target_length)).astype(np.int32),
    }


@pytest.mark.parametrize(
    "options", CHOICES, ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items()) or "defaults"
)
def test_equals_the_oracle(options):
    model, features = _model(**options), _features()
    result = model(features)
    assert result.dtype == tf.float32
    for row, length in enumerate(features["source_lengths"]):
        source, target = features["source_tokens"][row, :length], features["target_tokens"][row]
        expected = oracle.seq2seq_logits(model.config, oracle.by_path(model), source, target)
        np.testing.assert_allclose(result[row], expected, rtol=1e-3, atol=2e-4)


def test_a_source_is_encoded_and_projected_once():
    """A step reads the kept keys and values: other weights of the encoder change
    nothing any more.
    """
    model, features = _model(), {**_features(), "target_lengths": tf.constant([5, 5, 5])}
    _, state = model.start(features, 7)
    assert [tuple(memory.keys.shape) for memory in state.per_source["memory"]] == [(3, 4, 6, 4)] * 2
    expected, after = model.step(tf.constant([1, 2, 3]), state)
    for weight in model.weights:
        if "encoder" in weight.path or "key_value" in weight.path.split("/"):
            weight.assign(tf.zeros_like(weight))
    np.testing.assert_array_equal(model.step(tf.constant([1, 2, 3]), state)[0], expected)
    tf.nest.map_structure(np.testing.assert_array_equal, after.per_source, state.per_source)


@pytest.mark.thorough
def test_decoding_under_xla_equals_eager():
    model = _model()
    features = {name: tf.constant(value) for name, value in _features().items()}
    features["target_lengths"] = tf.constant([5, 2, 1])

    def decode(features):
        logits, state = model.start(features, 9)

        def body(step, logits, state):
            logits, state = model.step(tf.argmax(logits, -1, tf.int32), state)
            return step + 1, logits, state

        return tf.while_loop(lambda step, *_: step < 4, body, (tf.constant(0), logits, state))[1]

    with writes_for_xla():
        compiled = tf.function(decode, jit_compile=True, autograph=False)(features)
    np.testing.assert_allclose(compiled, decode(features), rtol=1e-4, atol=1e-5)


def test_initial_weights():
    """Embeddings times sqrt(width) and logits begin with variance 1, matrices as Glorot and Bengio
    say.
    """
    config = TransformerSeq2SeqConfig(
        vocabulary_size=200, encoder_layers=1, decoder_layers=1, width=64
    )
    model = TransformerSeq2Seq(config, seed=5).initialize()
    for path, values in oracle.by_path(model).items():
        if path.endswith(("bias", "offset")):
            assert not values.any()
        elif path.endswith("scale"):
            assert (values == 1.0).all()
        else:
            expected = 64**-0.5 if path.endswith("table") else np.sqrt(2 / sum(values.shape))
            assert values.std() == pytest.approx(expected, rel=0.05), path
    assert model(_features()).numpy().std() == pytest.approx(1.0, rel=0.2)


def test_embeddings_are_shared_and_tied_as_told():
    def tables(**options):
        shapes = [tuple(weight.shape) for weight in _model(**options).weights]
        return shapes.count((V, 16)) + shapes.count((16, V)), shapes.count((7, 16))

    assert tables() == (1, 0)
    assert tables(tied_embeddings=False) == (2, 0)
    assert tables(shared_embeddings=False) == (2, 0)
    assert tables(shared_embeddings=False, source_vocabulary_size=7) == (1, 1)


def test_rows_longer_than_the_learned_positions_are_refused():
    model, message = (
        _model(positions="learned"),
        "of 13 tokens: expected at most --transformer_seq2seq.max_positions=12",
    )
    for features in (_features(target_length=13), _features((13, 2))):
        with pytest.raises(UserError, match=message):
            model(features)
        assert _model()(features).shape[0] == len(features["source_tokens"])


def test_a_missing_feature_is_named():
    features = _features()
    del features["source_lengths"]
    with pytest.raises(
        UserError, match=r"lack 'source_lengths': expected source_tokens, .*use a dataset of pairs"
    ):
        _model().call(features)


def test_summary_shows_the_shapes(capsys):
    _model(embedding_width=6).summary()
    assert "?" not in capsys.readouterr().out
