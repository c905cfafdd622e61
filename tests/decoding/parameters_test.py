import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import stack
from tf_textgen.decoding import parameters
from tf_textgen.decoding.decoding_config import DecodingConfig

NAN, INF = math.nan, math.inf
GOOD = DecodingConfig(
    temperature=0.7, top_k=9, top_p=0.9, min_p=0.1, min_new_tokens=2, max_new_tokens=8, stop=("a",)
)


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
        (
            "temperature",
            [-0.1, NAN, INF, -INF],
            [0.0, 1e6],
            "invalid temperature: expected a finite value >= 0",
        ),
        ("top_k", [-1], [0, 1, 10**9], "invalid top_k: expected an integer >= 0"),
        (
            "top_p",
            [0.0, -1.0, 1.01, NAN, INF],
            [1e-9, 1.0],
            "invalid top_p: expected a value > 0 and <= 1",
        ),
        ("min_p", [-0.1, 1.1, NAN], [0.0, 1.0], "invalid min_p: expected a value >= 0 and <= 1"),
        (
            "repetition_penalty",
            [0.0, -1.0, NAN, INF],
            [0.1, 5.0],
            "invalid repetition_penalty: expected a finite value > 0",
        ),
        ("min_new_tokens", [-1], [0, 8], "invalid min_new_tokens: expected an integer >= 0"),
        ("min_new_tokens", [9], [8], "invalid min_new_tokens: expected at most max_new_tokens"),
        (
            "max_new_tokens",
            [0, -5, 33],
            [2, 32],
            "invalid max_new_tokens: expected an integer from 1 to 32",
        ),
        (
            "typical_p",
            [0.0, 1.01, NAN],
            [1e-9, 1.0],
            "invalid typical_p: expected a value > 0 and <= 1",
        ),
        (
            "epsilon_cutoff",
            [-0.1, 1.0, NAN],
            [0.0, 0.9],
            "invalid epsilon_cutoff: expected a value >= 0 and < 1",
        ),
        (
            "eta_cutoff",
            [-0.1, 1.0, NAN],
            [0.0, 0.9],
            "invalid eta_cutoff: expected a value >= 0 and < 1",
        ),
        (
            "frequency_penalty",
            [-2.1, INF, NAN],
            [-2.0, 2.0],
            "invalid frequency_penalty: expected a value from -2 to 2",
        ),
        (
            "presence_penalty",
            [-2.1, INF, NAN],
            [-2.0, 2.0],
            "invalid presence_penalty: expected a value from -2 to 2",
        ),
        ("no_repeat_ngram", [-1], [0, 10**9], "invalid no_repeat_ngram: expected an integer >= 0"),
        (
            "min_length_ratio",
            [-0.1, INF, NAN],
            [0.0, 9.0],
            "invalid min_length_ratio: expected a finite value >= 0",
        ),
        (
            "max_length_ratio",
            [-0.1, INF, NAN],
            [0.0, 9.0],
            "invalid max_length_ratio: expected a finite value >= 0",
        ),
        (
            "loop_repeats",
            [-1, 1],
            [0, 2, 10**9],
            "invalid loop_repeats: expected 0 or an integer >= 2",
        ),
        (
            "banned",
            ["x" * 65, "a\x1f" * 257],
            ["", "x" * 64, "a\x1f" * 255 + "a"],
            "invalid banned: expected at most 256 strings of at most 64 bytes",
        ),
        (
            "forced",
            ["x" * 65, "a\x1f" * 17],
            ["", "a\x1f" * 15 + "a"],
            "invalid forced: expected at most 16 strings of at most 64 bytes",
        ),
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
    safe, error = parameters.sanitize(given, vocabulary_size=50, bound=32, has_source=True)
    assert error.numpy().tolist() == [message.encode()] * len(bad) + [b""] * len(good)
    for field, value, original in zip(safe._fields, safe, given, strict=True):
        kept, expected = value.numpy()[len(bad) :], original.numpy()[len(bad) :]
        np.testing.assert_array_equal(
            kept, np.minimum(expected, 50) if field == "top_k" else expected
        )
    harmless = stack([DecodingConfig(temperature=0.0, max_new_tokens=1)] * len(bad))
    for value, expected in zip(safe, harmless, strict=True):
        np.testing.assert_array_equal(value[: len(bad)], expected)


def test_sanitize_no_rows():
    safe, error = parameters.sanitize(parameters.from_config(GOOD, 0), vocabulary_size=50, bound=32)
    assert error.shape == (0,) and safe.stop.shape == (0,)


def test_ratios_of_a_source_contradict_or_have_no_source():
    given = rows("min_length_ratio", 2.0, 2.0, 2.0)._replace(
        max_length_ratio=tf.constant([1.5, 2.0, 0.0])
    )
    _, error = parameters.sanitize(given, vocabulary_size=50, bound=32, has_source=True)
    assert error.numpy().tolist() == [
        b"invalid min_length_ratio: expected at most max_length_ratio",
        b"",
        b"",
    ]
    _, error = parameters.sanitize(given, vocabulary_size=50, bound=32)
    assert (
        error.numpy().tolist() == [b"invalid min_length_ratio: expected 0, there is no source"] * 3
    )


@pytest.mark.parametrize(
    ("shortest", "longest", "source", "needed", "expected"),
    [
        (0.0, 0.0, 10, 0, (2, 8)),  # nothing asked: as it was
        (0.0, 0.5, 10, 0, (2, 5)),
        (0.0, 0.59, 10, 0, (2, 5)),  # down
        (0.31, 0.0, 10, 0, (4, 8)),  # up
        (1.1, 0.0, 10, 0, (8, 8)),  # within max_new_tokens
        (0.7, 0.7, 10, 0, (7, 7)),  # exact although 0.7 is none in float32
        (0.0, 0.1, 3, 0, (1, 1)),  # one token at least, and min_new_tokens gives way
        (0.0, 9.0, 10**6, 0, (2, 8)),
        (3e38, 3e38, 10**6, 0, (8, 8)),
        (0.0, 0.5, 0, 0, (1, 1)),
        (0.0, 0.1, 10, 4, (2, 4)),  # what must be written has its room
    ],
)
def test_lengths_relative_to_the_source(shortest, longest, source, needed, expected):
    given = rows("min_length_ratio", shortest)._replace(
        max_length_ratio=tf.constant([longest], tf.float32)
    )
    made = parameters.with_ratios(given, tf.constant([source]), tf.constant([needed]))
    assert (made.min_new_tokens.numpy()[0], made.max_new_tokens.numpy()[0]) == expected
