import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import (
    LengthPenalty,
    divisor,
    length_penalty_of,
    sanitize_length_penalty,
)


def penalty(kinds, alphas):
    return LengthPenalty(tf.constant(kinds, tf.string), tf.constant(alphas, tf.float32))


def test_divisors():
    """Wu et al. (2016), equation 14, worked out by hand for 7 tokens: (12 / 6) ** alpha."""
    given = penalty(
        ["none", "gnmt", "gnmt", "average", "average", "average"], [1.0, 1.0, 2.0, 1.0, 0.5, 0.0]
    )
    expected = [1.0, 2.0, 4.0, 7.0, 7**0.5, 1.0]
    np.testing.assert_allclose(divisor(given, tf.constant(7)), expected, rtol=1e-15)
    np.testing.assert_array_equal(divisor(given, tf.constant(1)), np.ones(6))
    np.testing.assert_allclose(
        divisor(given, tf.constant([1, 1, 7, 7, 49, 9])), [1.0, 1.0, 4.0, 7.0, 7.0, 1.0]
    )


def test_from_config():
    given = length_penalty_of(DecodingConfig(length_penalty="average", length_penalty_alpha=0.5), 2)
    assert given.length_penalty.numpy().tolist() == [b"average"] * 2
    assert given.length_penalty_alpha.numpy().tolist() == [0.5] * 2


@pytest.mark.parametrize("alpha", [-0.1, 10.5, float("nan"), float("inf")])
def test_bad_alphas_are_told_and_made_harmless(alpha):
    safe, error = sanitize_length_penalty(penalty(["gnmt", "gnmt"], [alpha, 10.0]))
    assert error.numpy().tolist() == [
        b"invalid length_penalty_alpha: expected a value from 0 to 10",
        b"",
    ]
    assert safe.length_penalty_alpha.numpy().tolist() == [0.0, 10.0]


def test_unknown_kinds_are_told_and_made_harmless():
    safe, error = sanitize_length_penalty(penalty(["wu", "none", ""], [1.0] * 3))
    told = b"invalid length_penalty: expected one of none, gnmt, average"
    assert error.numpy().tolist() == [told, b"", told]
    assert safe.length_penalty.numpy().tolist() == [b"none"] * 3


def test_no_rows():
    safe, error = sanitize_length_penalty(penalty([], []))
    assert error.shape == (0,) and divisor(safe, tf.constant(3)).shape == (0,)
