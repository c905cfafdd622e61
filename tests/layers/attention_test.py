import numpy as np
import pytest
import tensorflow as tf

from tests.support import transformer_oracle as oracle
from tf_textgen.errors import UserError
from tf_textgen.layers.attention import (
    SCORES,
    CrossAttention,
    SelfAttention,
    attention_bias,
    cached_mask,
    causal_mask,
    prompt_mask,
    segment_mask,
)
from tf_textgen.layers.kv_cache import KeyValues
from tf_textgen.layers.positions import rotation

SHAPE = {"num_heads": 4, "num_kv_heads": 4, "head_width": 6, "value_width": 5}


def _layer(kind=SelfAttention, **options):
    layer = kind(8, **{**SHAPE, **options}, stddev=0.7, output_stddev=0.7, seed=1, name="attention")
    layer.build()
    rng = np.random.default_rng(2)
    for variable in layer.weights:
        if variable.ndim == 1:
            variable.assign(rng.normal(1.0, 0.3, variable.shape))
    return layer


def _inputs(batch=2, length=5):
    return np.random.default_rng(0).normal(size=(batch, length, 8)).astype(np.float32)


def _expected(layer, row, visible, positions=None, memory=None):
    return oracle.attention(
        row.astype(np.float64), oracle.by_path(layer), visible, heads=layer.num_heads, kv_heads=layer.num_kv_heads,
        head_width=layer.head_width, value_width=layer.value_width, kind=layer.score, positions=positions,
        memory=memory,
    )  # fmt: skip


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("rotary", [False, True])
def test_equals_the_oracle(score, kv_heads, rotary):
    layer, x = _layer(score=score, num_kv_heads=kv_heads), _inputs()
    positions = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]])
    angles = rotation(tf.constant(positions), 6) if rotary else None
    result, _ = layer(x, attention_bias(causal_mask(5)), rotation=angles)
    for row in range(2):
        expected = _expected(
            layer, x[row], np.tril(np.ones((5, 5), bool)), positions[row] if rotary else None
        )
        np.testing.assert_allclose(result[row], expected, rtol=1e-4, atol=1e-5)


def test_segments_do_not_see_each_other():
    layer, x = _layer(), _inputs()
    segments = np.array([[1, 1, 2, 2, 2], [1, 2, 3, 0, 0]])
    result, _ = layer(x, attention_bias(causal_mask(5) & segment_mask(tf.constant(segments))))
    for row in range(2):
        visible = np.tril(segments[row][:, None] == segments[row])
        np.testing.assert_allclose(
            result[row], _expected(layer, x[row], visible), rtol=1e-4, atol=1e-5
        )


def test_grouped_queries_equal_repeated_heads():
    grouped, full, x = _layer(num_kv_heads=2), _layer(), _inputs()
    for name in ("kernel", "bias"):
        whole = np.asarray(getattr(grouped.query_key_value, name).value)
        query, key, value = np.split(whole, [24, 36], axis=-1)
        key = np.concatenate([np.tile(part, 2) for part in np.split(key, 2, axis=-1)], axis=-1)
        value = np.concatenate([np.tile(part, 2) for part in np.split(value, 2, axis=-1)], axis=-1)
        getattr(full.query_key_value, name).assign(np.concatenate([query, key, value], axis=-1))
        getattr(full.output_projection, name).assign(getattr(grouped.output_projection, name).value)
    bias = attention_bias(causal_mask(5))
    np.testing.assert_allclose(grouped(x, bias)[0], full(x, bias)[0], rtol=1e-5, atol=1e-6)


def test_a_row_that_sees_nothing_is_finite():
    result, _ = _layer()(_inputs(), attention_bias(tf.zeros([2, 5, 5], tf.bool)))
    assert np.isfinite(result).all()


@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_finite_where_a_query_equals_its_key(score):
    layer = _layer(score=score, value_width=6)
    x = tf.zeros([1, 3, 8])
    layer.query_key_value.bias.assign(np.ones(72))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, attention_bias(causal_mask(3)))[0])
    gradients = tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]])
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("score", SCORES)
def test_the_cache_gives_what_the_whole_sequence_gives(score):
    layer, x = _layer(score=score, num_kv_heads=2), _inputs()
    whole, _ = layer(x, attention_bias(causal_mask(5)))
    past = KeyValues(tf.zeros([2, 2, 6, 6]), tf.zeros([2, 2, 6, 5]))
    for slot in range(5):
        bias = attention_bias((tf.range(6) <= slot)[tf.newaxis, tf.newaxis])
        part, past = layer(x[:, slot : slot + 1], bias, past=past, slot=tf.constant(slot))
        np.testing.assert_allclose(part[:, 0], whole[:, slot], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_cross_attention_equals_the_oracle_on_what_is_not_hidden(score, kv_heads):
    layer, x = _layer(CrossAttention, score=score, num_kv_heads=kv_heads), _inputs()
    source = np.random.default_rng(3).normal(size=(2, 7, 8)).astype(np.float32)
    lengths = [7, 2]
    result = layer(
        x,
        layer.project(tf.constant(source)),
        attention_bias(tf.sequence_mask(lengths, 7)[:, tf.newaxis]),
    )
    for row, length in enumerate(lengths):
        memory = source[row, :length].astype(np.float64)
        expected = _expected(layer, x[row], np.ones((5, length), bool), memory=memory)
        np.testing.assert_allclose(result[row], expected, rtol=1e-4, atol=1e-5)


def test_masks_of_left_padded_prompts():
    padding = tf.constant([0, 2])
    rows = [
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
    ]
    np.testing.assert_array_equal(prompt_mask(3, padding), np.array(rows, bool))
    cache = KeyValues(tf.zeros([2, 1, 5, 1]), tf.zeros([2, 1, 5, 1]))
    rows = [[[1, 1, 1, 1, 0]], [[0, 0, 1, 1, 0]]]
    np.testing.assert_array_equal(cached_mask(cache, tf.constant(3), padding), np.array(rows, bool))


def test_dropout_is_reproducible_and_off_outside_training():
    bias, x = attention_bias(causal_mask(5)), _inputs()
    first, second = (_layer(dropout=0.5)(x, bias, training=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(_layer(dropout=0.5)(x, bias)[0], _layer()(x, bias)[0])
    assert np.abs(first - _layer()(x, bias)[0]).max() > 1e-3


def test_mixed_precision_keeps_scores_in_float32():
    layer = _layer(dtype="mixed_bfloat16")
    result, present = layer(_inputs(), attention_bias(causal_mask(5)))
    assert result.dtype == present.keys.dtype == tf.bfloat16
    expected = _layer()(_inputs(), attention_bias(causal_mask(5)))[0]
    np.testing.assert_allclose(tf.cast(result, tf.float32), expected, atol=0.3)


def test_bad_options_are_named():
    with pytest.raises(
        UserError, match="attention score 'dot': expected one of dot_product, cosine, euclidean"
    ):
        _layer(score="dot")
    with pytest.raises(UserError, match="3 key heads for 4 query heads: expected a divisor"):
        _layer(num_kv_heads=3)
