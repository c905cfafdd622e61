"""Copies of the training text, against a search for every stretch."""

import random

import pytest

from tf_textgen.errors import UserError
from tf_textgen.evaluation.memorization import longest_copies, memorization


def contains(document, stretch):
    return any(document[i : i + len(stretch)] == stretch for i in range(len(document)))


def brute_force(row, documents):
    """Of each place, the most tokens that end there and stand together in a document."""
    return [
        max(
            size
            for size in range(end + 1)
            if not size or any(contains(document, row[end - size : end]) for document in documents)
        )
        for end in range(1, len(row) + 1)
    ]


@pytest.mark.parametrize("alphabet", ["a", "ab", "abcd"])
def test_equals_brute_force(alphabet):
    draw = random.Random(len(alphabet))
    for _ in range(40):
        rows = [draw.choices(alphabet, k=draw.randint(0, 9)) for _ in range(draw.randint(1, 4))]
        documents = [
            draw.choices("ab" + alphabet, k=draw.randint(0, 9)) for _ in range(draw.randint(0, 4))
        ]
        assert longest_copies(rows, documents) == [brute_force(row, documents) for row in rows]


def test_by_hand():
    score = memorization(
        ["He said: to be, or not", "x y"], ["To be, or not to be", "said: to"], sizes=(1, 2, 4)
    )
    # "said : to" and "to be" are copies, and "be , or not", which is the only one of four tokens.
    assert score.values == {
        "copied_1": 7 / 10,
        "copied_2": 6 / 8,
        "copied_4": 1 / 5,
        "longest_copy_tokens": 4,
    }
    assert score.signature == "memorization|texts:2|tokens:10|case:mixed|tok:unicode+marks"


def test_no_stretch_reaches_across_documents():
    assert memorization(["a b"], ["a", "b"], sizes=(2,)).values["copied_2"] == 0
    assert memorization(["a", "b"], ["a b"], sizes=(2,)).values["copied_2"] == 0


def test_no_text_is_refused():
    with pytest.raises(UserError, match="no generated text"):
        memorization([], ["a"])
