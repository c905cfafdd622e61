"""The decoder-only Transformer against NumPy, and what is its own; `tests/conformance` checks the
contract.
"""

import itertools
import random

import numpy as np
import pytest
import tensorflow as tf

from tests.support import transformer_oracle as oracle
from tf_textgen.errors import UserError
from tf_textgen.layers.kv_cache import writes_for_xla
from tf_textgen.models.transformer_lm import TransformerLM
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.objectives import token_log_probabilities

V, LAYERS = 11, 2
OPTIONS = {
    "normalization": ("layer_norm", "rms_norm"),
    "norm_placement": ("pre", "post"),
    "positions": ("learned", "sinusoidal", "rotary", "none"),
    "activation": ("gelu_tanh", "relu", "gelu", "swiglu"),
    "attention_score": ("dot_product", "cosine", "euclidean"),
    "tied_embeddings": (True, False),
    "use_bias": (True, False),
    "num_kv_heads": (None, 1, 2),
    "value_width": (None, 5),
    "embedding_width": (None, 6),
}


def _one_at_a_time():
    """The defaults, each option alone, and all of them away from the defaults."""
    alone = [{name: value} for name, values in OPTIONS.items() for value in values[1:]]
    return [{}, *alone, {name: values[-1] for name, values in OPTIONS.items()}]


def _what_the_cache_meets():
    """Every combination of what touches keys and values; the other options as they fall."""
    chosen = {
        **{name: OPTIONS[name] for name in ("positions", "attention_score")},
        "num_kv_heads": (None, 2),
    }
    rng = random.Random(0)
    for values in itertools.product(*chosen.values()):
        drawn = {name: rng.choice(OPTIONS[name]) for name in OPTIONS if name not in chosen}
        yield {**dict(zip(chosen, values, strict=True)), **drawn}


def _model(dtype=None, seed=1, **options):
    fields = {"num_layers": LAYERS, "num_heads": 4, "width": 16, "max_positions": 12, **options}
    model = TransformerLM(
        TransformerLMConfig(vocabulary_size=V, **fields), seed=seed, dtype=dtype
    ).initialize()
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        mean = 1.0 if weight.path.endswith("scale") else 0.0
        weight.assign(rng.normal(mean, 0.3, weight.shape))
    return model


def _tokens(batch=2, length=6, seed=0):
    return np.random.default_rng(seed).integers(0, V, (batch, length)).astype(np.int32)


def _named(options):
    return "-".join(f"{name}={value}" for name, value in options.items()) or "defaults"


@pytest.mark.parametrize("options", _one_at_a_time(), ids=_named)
def test_equals_the_oracle(options):
    model, tokens = _model(**options), _tokens()
    result = model({"target_tokens": tokens})
    assert result.dtype == tf.float32
    for row in range(2):
        expected = oracle.logits(model.config, oracle.by_path(model), tokens[row])
        np.testing.assert_allclose(result[row], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", list(_what_the_cache_meets()), ids=_named)
def test_steps_equal_the_whole_sequence(options):
    """Prompts of different lengths, left-padded, in one batch: each row as if alone, at once and
    unpadded.
    """
    model, tokens, lengths = _model(**options), _tokens(3, 9), np.array([1, 5, 3])
    whole = model({"target_tokens": tokens}).numpy()
    prompts = np.zeros((3, 5), np.int32)
    for row, length in enumerate(lengths):
        prompts[row, 5 - length :] = tokens[row, :length]
    logits, state = model.start(
        {"target_tokens": prompts, "target_lengths": tf.constant(lengths, tf.int32)}, 9
    )
    for step in range(4):
        np.testing.assert_allclose(
            logits, whole[np.arange(3), lengths + step - 1], rtol=1e-3, atol=1e-4
        )
        logits, state = model.step(tf.constant(tokens[np.arange(3), lengths + step]), state)
    np.testing.assert_allclose(logits, whole[np.arange(3), lengths + 3], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("positions", OPTIONS["positions"])
@pytest.mark.parametrize("given", [True, False])
def test_packed_documents_score_as_they_do_alone(positions, given):
    model, labels, lengths = _model(positions=positions), _tokens(1, 9, seed=1), (4, 3, 2)
    tokens = _tokens(1, 9)
    features = {
        "target_tokens": tokens,
        "segment_ids": tf.constant([np.repeat((1, 2, 3), lengths)], tf.int32),
    }
    if given:
        features["positions"] = tf.constant(
            [np.concatenate([np.arange(n) for n in lengths])], tf.int32
        )
    packed = token_log_probabilities(model(features), labels).numpy()[0]
    start, alone = 0, []
    for n in lengths:
        one = slice(start, start + n)
        alone.append(
            token_log_probabilities(
                model({"target_tokens": tokens[:, one]}), labels[:, one]
            ).numpy()[0]
        )
        start += n
    np.testing.assert_allclose(packed, np.concatenate(alone), rtol=1e-4, atol=1e-5)
    assert packed.sum() == pytest.approx(sum(part.sum() for part in alone), rel=1e-5)


def test_decoding_under_xla_equals_eager():
    model, tokens = _model(positions="rotary"), _tokens(2, 4)
    features = {"target_tokens": tf.constant(tokens), "target_lengths": tf.constant([4, 2])}

    def decode(features):
        logits, state = model.start(features, 8)

        def body(step, logits, state):
            logits, state = model.step(tf.argmax(logits, -1, tf.int32), state)
            return step + 1, logits, state

        return tf.while_loop(lambda step, *_: step < 4, body, (tf.constant(0), logits, state))[1]

    with writes_for_xla():
        compiled = tf.function(decode, jit_compile=True, autograph=False)(features)
    np.testing.assert_allclose(compiled, decode(features), rtol=1e-4, atol=1e-5)


def test_caches_hold_grouped_heads_in_the_compute_dtype():
    model = _model("mixed_bfloat16", num_kv_heads=2, value_width=5)
    _, state = model.start(
        {"target_tokens": _tokens(3, 4), "target_lengths": tf.constant([4, 1, 2])}, 7
    )
    for cache in state.per_step["caches"]:
        assert [(tuple(part.shape), part.dtype) for part in cache] == [
            ((3, 2, 7, 4), tf.bfloat16),
            ((3, 2, 7, 5), tf.bfloat16),
        ]


def test_initial_weights_are_those_of_gpt2():
    config = TransformerLMConfig(
        vocabulary_size=200, num_layers=8, num_heads=4, width=64, max_positions=100
    )
    model = TransformerLM(config, seed=5).initialize()
    for path, values in oracle.by_path(model).items():
        if path.endswith(("bias", "offset")):
            assert not values.any()
        elif path.endswith("scale"):
            assert (values == 1.0).all()
        else:
            expected = 0.02 / 4.0 if path.endswith("output_projection/kernel") else 0.02
            assert values.std() == pytest.approx(expected, rel=0.05), path


def _gpt2_weights(vocabulary, positions, layers, width):
    block = 2 * width + 3 * width * (width + 1) + width * (width + 1) + 2 * width
    block += 4 * width * (width + 1) + width * (4 * width + 1)
    return (vocabulary + positions) * width + layers * block + 2 * width


def test_number_of_weights_is_that_of_gpt2():
    assert _gpt2_weights(50257, 1024, 12, 768) == 124_439_808
    assert _model().count_params() == _gpt2_weights(V, 12, LAYERS, 16)


def test_seeds_repeat_weights_and_dropout():
    def run(seed):
        config = TransformerLMConfig(
            vocabulary_size=V, width=16, dropout=0.3, attention_dropout=0.3
        )
        return TransformerLM(config, seed=seed)({"target_tokens": _tokens()}, training=True).numpy()

    np.testing.assert_array_equal(run(1), run(1))
    assert np.abs(run(1) - run(2)).max() > 1e-4


def test_paths_of_variables_do_not_depend_on_other_models():
    first, second = ([v.path for v in _model(value_width=5).weights] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)
    assert "transformer_lm/block_1/attention/query_key_value/kernel" in first


def test_summary_shows_the_shapes(capsys):
    _model(embedding_width=6).summary()
    printed = capsys.readouterr().out
    assert "?" not in printed
    assert "(None, None, 16)" in printed


def test_sequences_longer_than_the_learned_positions_are_refused():
    with pytest.raises(
        UserError,
        match=r"sequences of 13 tokens: expected at most --transformer_lm.max_positions=12",
    ):
        _model()({"target_tokens": _tokens(1, 13)})
    assert _model(positions="rotary")({"target_tokens": _tokens(1, 13)}).shape == (1, 13, V)


def test_configuration_of_another_family_is_refused():
    with pytest.raises(
        UserError, match="TransformerLM was given a dict: expected a TransformerLMConfig"
    ):
        TransformerLM({"width": 3})
