import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import UNK, Markov, contains, spell, stack
from tests.support import tiny_models
from tf_textgen.decoding import constraints
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError

A, B, C, SPACE = 5, 6, 9, 15
TEXTS = ("stop", "banned", "allowed", "forced", "forced_prefix")
rng = np.random.default_rng(0)


def parse(*configs):
    return constraints.parse(
        stack(configs), Markov(eager=True).tokenize, vocabulary_size=16, unk_id=UNK
    )


def tokens_of(given, row):
    return [
        t[:n].tolist()
        for t, n in zip(given.tokens[row].numpy(), given.lengths[row].numpy(), strict=True)
        if n
    ]


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
    assert (
        tokens_of(found.banned, 0) == tokens_of(found.forced, 0) == tokens_of(found.banned, 2) == []
    )
    assert tokens_of(found.forced, 2) == [[C]]
    assert found.prefix.numpy().tolist() == [[-1, -1], [B, B], [-1, -1]]
    assert constraints.needed_tokens(found).numpy().tolist() == [0, 6, 1]
    assert error.numpy().tolist() == [b""] * 3


def test_a_prefix_that_is_far_too_long_makes_no_wide_tensor():
    """It would cost the rows next to it a step for each of its tokens."""
    found, error = parse(
        DecodingConfig(forced_prefix="ab" * 999, max_new_tokens=4),
        DecodingConfig(forced_prefix="b", max_new_tokens=3),
    )
    assert found.prefix.numpy().tolist() == [[-1] * 5, [B, -1, -1, -1, -1]]
    assert error.numpy().tolist() == [
        b"invalid max_new_tokens: expected enough for the tokens of forced and forced_prefix",
        b"",
    ]


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
    assert tokens_of(found.banned, 1) == [] and (
        not found.allowed.shape[1] or np.all(found.allowed[1])
    )


@pytest.mark.parametrize(
    ("served", "message"),
    [
        ({"banned": "b", "forced": "c\x1fabc"}, "invalid forced: expected no word of banned in it"),
        (
            {"banned": "c\x1fab", "forced": "b\x1fcab"},
            "invalid forced: expected no word of banned in it",
        ),
        (
            {"banned": "b", "forced_prefix": "a b"},
            "invalid forced_prefix: expected no word of banned in it",
        ),
        (
            {"banned": "a\x1fb", "allowed": "ab\x1fa"},
            "invalid allowed: expected a token that is not banned",
        ),
        (
            {"stop": "c\x1fb", "forced": "a\x1faba"},
            "invalid forced: expected no string of stop in it",
        ),
        (
            {"stop": "a b", "forced_prefix": "a b"},
            "invalid forced_prefix: expected no string of stop in it",
        ),
        (
            {"banned": "ab", "forced": "a\x1fb"},
            "",
        ),  # only the order in which they are written makes it one
        ({"banned": "ab", "forced": "ba", "forced_prefix": "a"}, ""),
        ({"banned": "ab\x1fa", "allowed": "ab"}, ""),
        ({"banned": "xa", "forced": "a"}, ""),
        ({"stop": "ac\x1f", "forced": "ab\x1fc", "forced_prefix": "a a"}, ""),
    ],
)
def test_contradictions_of_a_served_row_are_told(served, message):
    parameters = stack(
        [DecodingConfig(banned=("a",), forced=("b",), forced_prefix="c", allowed=("ab",))] * 2
    )
    columns = {
        name: tf.constant([getattr(parameters, name)[0].numpy(), served.get(name, "")])
        for name in TEXTS
    }
    given = parameters._replace(**columns)
    found, error = constraints.parse(
        given, Markov(eager=True).tokenize, vocabulary_size=16, unk_id=UNK
    )
    assert error.numpy().tolist() == [b"", message.encode()]
    assert constraints.needed_tokens(found).numpy()[0] == 2 and (
        not message or tokens_of(found.forced, 1) == []
    )


def test_a_banned_word_is_judged_by_its_tokens():
    """Letters know "a" in "ab", a vocabulary of words does not."""
    wish = DecodingConfig(banned=("a",), forced=("ab",), forced_prefix="ba")
    words = tf.constant(["a", " a", "ab", "ba"])

    def whole(texts):
        return tf.RaggedTensor.from_tensor(
            5 + tf.argmax(tf.equal(texts[:, tf.newaxis], words), 1, tf.int32)[:, None]
        )

    _, error = constraints.parse(stack([wish]), whole, vocabulary_size=16, unk_id=UNK)
    assert error.numpy() == [b""]
    assert parse(wish)[1].numpy() == [b"invalid forced: expected no word of banned in it"]


def test_contain_equals_a_search_of_all_places():
    given = [
        ["".join(rng.choice(list("ab"), rng.integers(1, 4))) for _ in range(2)] for _ in range(80)
    ]
    texts = ["".join(rng.choice(list("abc"), rng.integers(0, 8))) for _ in given]
    words = tf.ragged.constant([[spell(word) for word in row] for row in given], dtype=tf.int32)
    lengths = tf.constant([[len(word) for word in row] for row in given])
    tokens = tf.ragged.constant([spell(text) for text in texts], dtype=tf.int32).to_tensor(-1)
    found = (
        constraints.contain(constraints.Words(words.to_tensor(-1), lengths), tokens)
        .numpy()
        .tolist()
    )
    assert found == [
        any(contains(spell(t), spell(w)) for w in row) for t, row in zip(texts, given, strict=True)
    ]
    assert 20 < sum(found) < 60


def test_contradictions_are_told_before_there_are_prompts():
    generator, wish = tiny_models.generator("ngram"), DecodingConfig(max_new_tokens=8)
    for bad, message in (
        (
            {"banned": ("he",), "forced": ("the",)},
            r"forced=\('the',\): expected no word of banned in it",
        ),
        (
            {"banned": ("他",), "forced_prefix": "其他"},
            "forced_prefix=其他: expected no word of banned in it",
        ),
        (
            {"banned": ("a",), "allowed": ("a",)},
            r"allowed=\('a',\): expected a token that is not banned",
        ),
    ):
        for beam in (1, 2):
            with pytest.raises(UserError, match=message):
                generator.check(dataclasses.replace(wish, beam_width=beam, **bad))


@pytest.mark.parametrize("dropped", [0, 1])
def test_ends_with(dropped):
    rows, width = 50, 6
    tokens = rng.integers(0, 2, (rows, width)).astype(np.int32)
    start = rng.integers(0, 4, rows).astype(np.int32)
    lengths = rng.integers(0, 4, (rows, 5)).astype(np.int32)
    given = np.where(
        np.arange(4) < lengths[..., None], rng.integers(0, 2, (rows, 5, 4)), -1
    ).astype(np.int32)
    for end in (3, 4, 6):
        found = constraints.ends_with(
            constraints.Words(given, lengths), tf.constant(tokens), start, end, dropped
        ).numpy()
        for row in range(rows):
            past = tokens[row, start[row] : end].tolist()
            for k, n in enumerate(lengths[row]):
                word = given[row, k, : max(n - dropped, 0)].tolist()
                assert found[row, k] == (
                    n > 0 and past[len(past) - len(word) :] == word and len(past) >= len(word)
                )


def test_no_rows():
    found, error = parse()
    assert error.shape == (0,) and found.forced.lengths.shape[0] == 0
