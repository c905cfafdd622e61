import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import stack
from tf_textgen.decoding import parameters
from tf_textgen.decoding.decoding_config import DecodingConfig

NAN, INF = math.nan, math.inf
GOOD = DecodingConfig(temperature=0.7, top_k=9, top_p=0.9, min_p=0.1, min_new_tokens=2, max_new_tokens=8, stop=("a",))


def rows(name, *values):
    """`GOOD` rows but for one parameter."""
    given = stack([GOOD] * len(values))
    return given._replace(**{name: tf.constant(values, getattr(parameters.DTYPES, name))})


def test_from_config():
    given = parameters.from_config(dataclasses.replace(GOOD, stop=("a", "b"), seed=-5), 3)
    for value, dtype in zip(given, parameters.DTYPES, strict=True):
        assert (value.dtype, value.shape) == (dtype, (3,))
    assert given.stop.numpy().tolist() == [b"a\x1fb"] * 3
    assert given.seed.numpy().tolist() == [-5] * 3
    assert parameters.from_config(GOOD, tf.constant(0)).top_k.shape == (0,)


@pytest.mark.parametrize(
    ("name", "bad", "good", "message"),
    [
        ("temperature", [-0.1, NAN, INF, -INF], [0.0, 1e6], "invalid temperature: expected a finite value >= 0"),
        ("top_k", [-1], [0, 1, 10**9], "invalid top_k: expected an integer >= 0"),
        ("top_p", [0.0, -1.0, 1.01, NAN, INF], [1e-9, 1.0], "invalid top_p: expected a value > 0 and <= 1"),
        ("min_p", [-0.1, 1.1, NAN], [0.0, 1.0], "invalid min_p: expected a value >= 0 and <= 1"),
        (
            "repetition_penalty",
            [0.0, -1.0, NAN, INF],
            [0.1, 5.0],
            "invalid repetition_penalty: expected a finite value > 0",
        ),
        ("min_new_tokens", [-1], [0, 8], "invalid min_new_tokens: expected an integer >= 0"),
        ("min_new_tokens", [9], [8], "invalid min_new_tokens: expected at most max_new_tokens"),
        ("max_new_tokens", [0, -5, 33], [2, 32], "invalid max_new_tokens: expected an integer from 1 to 32"),
        (
            "stop",
            ["x" * 257, "a\x1f" * 17, "a\x1f" + "字" * 100],
            ["", "x" * 256, "a\x1f" * 15 + "a"],
            "invalid stop: expected at most 16 strings of at most 256 bytes",
        ),
    ],
)
def test_sanitize(name, bad, good, message):
    given = rows(name, *bad, *good)
    safe, error = parameters.sanitize(given, vocabulary_size=50, bound=32)
    assert error.numpy().tolist() == [message.encode()] * len(bad) + [b""] * len(good)
    for field, value, original in zip(safe._fields, safe, given, strict=True):
        kept, expected = value.numpy()[len(bad) :], original.numpy()[len(bad) :]
        np.testing.assert_array_equal(kept, np.minimum(expected, 50) if field == "top_k" else expected)
    harmless = stack([DecodingConfig(temperature=0.0, max_new_tokens=1)] * len(bad))
    for value, expected in zip(safe, harmless, strict=True):
        np.testing.assert_array_equal(value[: len(bad)], expected)


def test_sanitize_no_rows():
    safe, error = parameters.sanitize(parameters.from_config(GOOD, 0), vocabulary_size=50, bound=32)
    assert error.shape == (0,) and safe.stop.shape == (0,)
