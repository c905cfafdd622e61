"""ROUGE F1: by hand, and by brute force."""

import collections
import itertools
import random

import pytest

from tf_textgen.evaluation.rouge import rouge


def f1(matches, made, wanted):
    return 2 * matches / (made + wanted) if made + wanted else 0.0


def brute_force(hypothesis, reference):
    """ROUGE-1, -2, -L of two short lists of words."""
    found = []
    for size in (1, 2):
        left, right = (
            collections.Counter(tuple(row[i : i + size]) for i in range(len(row) - size + 1))
            for row in (hypothesis, reference)
        )
        found.append(f1((left & right).total(), left.total(), right.total()))
    common = max(
        size
        for size in range(len(hypothesis) + 1)
        for kept in itertools.combinations(hypothesis, size)
        if all(word in iter_ for iter_ in [iter(reference)] for word in kept)
    )
    return [*found, f1(common, len(hypothesis), len(reference))]


def test_by_hand():
    score = rouge(["The cat sat!"], [["the cat, on a mat"]])
    assert score.values["rouge1"] == pytest.approx(100 * f1(2, 3, 5))
    assert score.values["rouge2"] == pytest.approx(100 * f1(1, 2, 4))
    assert score.values["rouge_l"] == pytest.approx(100 * f1(2, 3, 5))
    assert (
        score.signature
        == "ROUGE F1|nrefs:1|several:best|case:lc|stem:no|tok:english|rouge-score:0.1.2"
    )


def test_equals_brute_force_with_several_references():
    draw = random.Random(0)
    texts = [draw.choices("abcd", k=draw.randint(1, 7)) for _ in range(12)]
    references = [
        [draw.choices("abcd", k=draw.randint(1, 7)) for _ in range(draw.randint(1, 3))]
        for _ in texts
    ]
    best = [
        [max(scores) for scores in zip(*(brute_force(text, one) for one in several), strict=True)]
        for text, several in zip(texts, references, strict=True)
    ]
    expected = [100 * sum(column) / len(texts) for column in zip(*best, strict=True)]
    score = rouge(
        [" ".join(text) for text in texts],
        [[" ".join(one) for one in several] for several in references],
    )
    assert list(score.values.values()) == pytest.approx(expected)
    assert "nrefs:1-3|several:best" in score.signature


def test_words_that_are_not_english():
    same = rouge(["l'hiver"], [["l'été"]])
    assert same.values["rouge1"] == pytest.approx(50) and "tok:unicode" in same.signature
    assert rouge(["été"], [["thé"]]).values["rouge1"] == 0
    assert rouge(["été"], [["thé"]], tokenizer="english").values["rouge1"] == 0
    assert rouge(["ét"], [["ût"]], tokenizer="english").values["rouge1"] == 100
    assert rouge(["我看书"], [["我读书。"]]).values["rouge1"] == pytest.approx(100 * f1(2, 3, 3))
