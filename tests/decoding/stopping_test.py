import numpy as np
import tensorflow as tf

from tests.decoding.markov import goes_round
from tf_textgen.decoding import stopping

NOWHERE = 2**31 - 1
rng = np.random.default_rng(0)
ALPHABET = [b"a", b"b", b"\x00", "字".encode(), b"\xff"]


def random_texts(rows, longest):
    return [
        b"".join(ALPHABET[i] for i in rng.integers(0, 5, rng.integers(0, longest + 1)))
        for _ in range(rows)
    ]


def earliest(text, stops):
    places = [text.find(s) for s in stops if s and s in text]
    return min(places, default=NOWHERE)


def test_first_match_equals_find():
    texts = random_texts(400, 9)
    stops = [random_texts(rng.integers(0, 4), 3) for _ in texts]
    parsed = stopping.parse_stops(tf.constant([b"\x1f".join(s) for s in stops]))
    expected = [earliest(t, s) for t, s in zip(texts, stops, strict=True)]
    assert stopping.first_match(tf.constant(texts), parsed).numpy().tolist() == expected
    assert 50 < np.sum(np.array(expected) == NOWHERE) < 350


def test_empty_parts_and_rows():
    parsed = stopping.parse_stops(tf.constant(["", "\x1f", "\x1fa\x1f\x1f"]))
    assert stopping.first_match(tf.constant(["", "aa", "ba"]), parsed).numpy().tolist() == [
        NOWHERE,
        NOWHERE,
        1,
    ]
    nobody = stopping.parse_stops(tf.zeros([0], tf.string))
    assert stopping.first_match(tf.zeros([0], tf.string), nobody).shape == (0,)
    assert stopping.first_match(
        tf.constant(["a"]), stopping.parse_stops(tf.constant([""]))
    ).numpy() == [NOWHERE]


def test_a_zero_byte_is_not_padding():
    parsed = stopping.parse_stops(tf.constant([b"a\x00", b"a\x00"]))
    assert stopping.first_match(tf.constant([b"ba", b"ba\x00"]), parsed).numpy().tolist() == [
        NOWHERE,
        1,
    ]


def test_holds_stop_equals_in():
    texts = [
        text + b" " for text in random_texts(200, 6)
    ]  # an empty stop string is none, and no white space
    stops = [random_texts(rng.integers(0, 4), 3) for _ in texts]
    found = (
        stopping.holds_stop(tf.constant(texts), tf.constant([b"\x1f".join(s) for s in stops]))
        .numpy()
        .tolist()
    )
    assert found == [any(s and s in t for s in some) for t, some in zip(texts, stops, strict=True)]
    assert 20 < sum(found) < 180
    assert (
        stopping.holds_stop(tf.constant(["", "a a"]), tf.constant(["", ""])).numpy().tolist()
        == [False] * 2
    )
    assert stopping.holds_stop(tf.zeros([0], tf.string), tf.zeros([0], tf.string)).shape == (0,)


def test_common_prefix():
    left, right = ["", "abc", "abc", "字", "x"], ["a", "abd", "abc", "字字", "y"]
    assert stopping.common_prefix(tf.constant(left), tf.constant(right)).numpy().tolist() == [
        0,
        2,
        3,
        3,
        0,
    ]


def test_cut_follows_a_growing_text():
    """The end of a text may be rewritten by the next token."""
    cut = tf.function(stopping.cut, reduce_retracing=True, autograph=False)
    stops = [[s for s in random_texts(3, 3) if s] or [b"a"] for _ in range(200)]
    parsed = stopping.parse_stops(tf.constant([b"\x1f".join(s) for s in stops]))
    before, found_by_now = [b""] * 200, np.zeros(200, bool)
    for _ in range(6):
        grown = [
            t[: len(t) - rng.integers(0, 3)] + n
            for t, n in zip(before, random_texts(200, 3), strict=True)
        ]
        texts, found = (x.numpy() for x in cut(tf.constant(before), tf.constant(grown), parsed))
        for i in np.flatnonzero(~found_by_now):
            place = earliest(grown[i], stops[i])
            assert (found[i], texts[i]) == (place != NOWHERE, grown[i][:place])
        found_by_now |= found
        before = [b"" if done else t for t, done in zip(grown, found_by_now, strict=True)]
    assert 20 < found_by_now.sum() < 200


def test_half_characters_become_whole():
    """A tokenizer of bytes shows U+FFFD until a character is complete."""
    codes = list("x字y".encode())
    texts = [bytes(codes[:n]).decode(errors="replace") for n in range(1, 6)]
    parsed, before, found = stopping.parse_stops(tf.constant(["字y"])), tf.constant([""]), []
    for text in texts:
        before, now = stopping.cut(before, tf.constant([text]), parsed)
        found.append(bool(now))
    assert found == [False, False, False, False, True]
    assert before.numpy() == [b"x"]


def test_loops_are_blocks_that_come_again_and_again():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 2, (200, 12)).astype(np.int32)
    times = rng.choice([0, 2, 3, 4], 200).astype(np.int32)
    repeats, seen = tf.zeros([200, 6], tf.int32), 0
    for last in range(12):
        repeats = stopping.count_repeats(repeats, tf.constant(tokens), tf.constant(last))
        found = stopping.is_loop(repeats, tf.constant(times)).numpy()
        for row in range(200):
            assert found[row] == goes_round(tokens[row, : last + 1].tolist(), int(times[row]))
        seen += found.sum()
    assert 100 < seen < 2000
    assert (
        stopping.is_loop(tf.zeros([3, 0], tf.int32), tf.constant([2, 3, 4])).numpy().tolist()
        == [False] * 3
    )


def test_held_back_equals_python():
    texts = random_texts(300, 6)
    stops = [random_texts(rng.integers(0, 4), 4) for _ in texts]
    expected = [
        max((n for stop in some for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        for text, some in zip(texts, stops, strict=True)
    ]
    parsed = stopping.parse_stops(tf.constant([b"\x1f".join(some) for some in stops]))
    assert stopping.held_back(tf.constant(texts), parsed).numpy().tolist() == expected
    assert 30 < np.sum(np.array(expected) > 0) < 270
