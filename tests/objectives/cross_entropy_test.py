import numpy as np
import pytest
import tensorflow as tf

from tf_textgen import objectives


def _log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _example(shape=(2, 3), size=5, scale=1.0):
    rng = np.random.default_rng(0)
    return rng.normal(size=(*shape, size)) * scale, rng.integers(0, size, shape)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("shape", [(2, 3), (4,)])
def test_smoothing_spreads_the_target_over_the_whole_vocabulary(smoothing, shape):
    logits, labels = _example(shape)
    target = (1.0 - smoothing) * np.eye(5)[labels] + smoothing / 5
    expected = -(target * _log_softmax(logits)).sum(-1)
    result = objectives.token_cross_entropy(
        tf.constant(logits), tf.constant(labels, tf.int32), smoothing
    )
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_large_logits_stay_finite():
    logits, labels = _example(scale=1e4)
    result = objectives.token_cross_entropy(tf.constant(logits), tf.constant(labels), 0.1)
    target = 0.9 * np.eye(5)[labels] + 0.02
    np.testing.assert_allclose(result, -(target * _log_softmax(logits)).sum(-1), rtol=1e-5)


def test_log_probabilities_of_bfloat16_logits_are_float32():
    logits, labels = _example()
    rounded = tf.cast(logits, tf.bfloat16)
    result = objectives.token_log_probabilities(rounded, tf.constant(labels))
    expected = np.take_along_axis(
        _log_softmax(tf.cast(rounded, tf.float64).numpy()), labels[..., None], -1
    )[..., 0]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_hits():
    logits, labels = _example()
    np.testing.assert_array_equal(
        objectives.token_hits(logits, tf.constant(labels)), logits.argmax(-1) == labels
    )


def test_no_rows():
    logits, labels = tf.zeros([0, 3, 5]), tf.zeros([0, 3], tf.int32)
    assert objectives.token_cross_entropy(logits, labels, 0.1).shape == (0, 3)
    assert objectives.token_hits(logits, labels).shape == (0, 3)
