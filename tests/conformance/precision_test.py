"""Under mixed bfloat16 logits stay float32, and near those of float32, at once and step by step."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import CASES, decoding, draw, make, often


@pytest.mark.parametrize("name", often(CASES))
def test_mixed_bfloat16(name):
    case = CASES[name]
    model, features = make(case, dtype="mixed_bfloat16"), draw(case)
    expected = decoding(name).whole(features).numpy()
    assert all(weight.dtype == "float32" for weight in model.trainable_weights)
    logits = model(features)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, atol=case.bfloat16_tolerance)
    if case.learns:
        assert np.abs(logits - expected).max() > 1e-6  # the policy reaches the products
    first = {
        **features,
        "target_tokens": features["target_tokens"][:, :1],
        "target_lengths": np.ones(3, np.int32),
    }
    logits, state = model.start({key: tf.constant(value) for key, value in first.items()}, 3)
    for t in (1, 2):
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits, expected[:, t - 1], atol=case.bfloat16_tolerance)
        logits, state = model.step(tf.constant(features["target_tokens"][:, t]), state)
    np.testing.assert_allclose(logits, expected[:, 2], atol=case.bfloat16_tolerance)
