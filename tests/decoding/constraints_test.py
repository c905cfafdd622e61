import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import UNK, Markov, stack
from tf_textgen.decoding import constraints
from tf_textgen.decoding.decoding_config import DecodingConfig

A, B, C, SPACE = 5, 6, 9, 15
rng = np.random.default_rng(0)


def parse(*configs):
    return constraints.parse(stack(configs), Markov(eager=True).tokenize, vocabulary_size=16, unk_id=UNK)


def tokens_of(given, row):
    return [t[:n].tolist() for t, n in zip(given.tokens[row].numpy(), given.lengths[row].numpy(), strict=True) if n]


def test_banned_words_have_two_spellings_and_forced_ones_one():
    asked = DecodingConfig(banned=("ab", "xa", "c"), forced=("a b", "b"), forced_prefix="bb")
    found, error = parse(DecodingConfig(), asked, DecodingConfig(forced=("c",)))
    assert tokens_of(found.banned, 1) == [
        [A, B],
        [C],
        [SPACE, A, B],
        [SPACE, C],
    ]  # no token is unknown, so "xa" is none
    assert tokens_of(found.forced, 1) == [[A, SPACE, B], [B]]
    assert tokens_of(found.banned, 0) == tokens_of(found.forced, 0) == tokens_of(found.banned, 2) == []
    assert tokens_of(found.forced, 2) == [[C]]
    assert found.prefix.numpy().tolist() == [[-1, -1], [B, B], [-1, -1]]
    assert constraints.needed_tokens(found).numpy().tolist() == [0, 6, 1]
    assert error.numpy().tolist() == [b""] * 3


def test_allowed_are_the_tokens_of_all_texts():
    found, _ = parse(DecodingConfig(allowed=("ab", "xc")), DecodingConfig())
    assert np.flatnonzero(found.allowed[0]).tolist() == [A, B, C]
    assert np.all(found.allowed[1])


def test_nothing_asked_is_no_columns():
    found, error = parse(DecodingConfig(), DecodingConfig())
    assert [x.shape.as_list() for x in tf.nest.flatten(found)] == [
        x.shape for x in tf.nest.flatten(constraints.no_constraints(2))
    ]
    assert error.numpy().tolist() == [b"", b""]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"forced": ("a", "xa")}, "invalid forced: expected words that the vocabulary has"),
        ({"allowed": ("x",)}, "invalid allowed: expected text that the vocabulary has"),
        ({"forced_prefix": "ax"}, "invalid forced_prefix: expected text that the vocabulary has"),
        (
            {"forced": ("aaa", "b"), "forced_prefix": "c", "max_new_tokens": 4},
            "invalid max_new_tokens: expected enough for the tokens of forced and forced_prefix",
        ),
    ],
)
def test_what_cannot_be_written_is_told_and_taken_away(bad, message):
    good = DecodingConfig(banned=("a",), forced=("b",), forced_prefix="c", max_new_tokens=2)
    found, error = parse(good, DecodingConfig(**bad))
    assert error.numpy().tolist() == [b"", message.encode()]
    assert constraints.needed_tokens(found).numpy().tolist() == [2, 0]
    assert tokens_of(found.banned, 1) == [] and (not found.allowed.shape[1] or np.all(found.allowed[1]))


@pytest.mark.parametrize("dropped", [0, 1])
def test_ends_with(dropped):
    rows, width = 50, 6
    tokens = rng.integers(0, 2, (rows, width)).astype(np.int32)
    start = rng.integers(0, 4, rows).astype(np.int32)
    lengths = rng.integers(0, 4, (rows, 5)).astype(np.int32)
    given = np.where(np.arange(4) < lengths[..., None], rng.integers(0, 2, (rows, 5, 4)), -1).astype(np.int32)
    for end in (3, 4, 6):
        found = constraints.ends_with(
            constraints.Words(given, lengths), tf.constant(tokens), start, end, dropped
        ).numpy()
        for row in range(rows):
            past = tokens[row, start[row] : end].tolist()
            for k, n in enumerate(lengths[row]):
                word = given[row, k, : max(n - dropped, 0)].tolist()
                assert found[row, k] == (n > 0 and past[len(past) - len(word) :] == word and len(past) >= len(word))


def test_no_rows():
    found, error = parse()
    assert error.shape == (0,) and found.forced.lengths.shape[0] == 0
