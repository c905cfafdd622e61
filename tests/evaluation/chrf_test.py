"""chrF against its formula."""

import collections

import pytest

from tf_textgen.evaluation.chrf import chrf


def grams(text, size):
    text = text.replace(" ", "")
    return collections.Counter(text[i : i + size] for i in range(len(text) - size + 1))


def formula(pairs):
    """Mean over n of precision and recall of the corpus, then F2 (Popović 2015, equation 1)."""
    precisions, recalls = [], []
    for size in range(1, 7):
        counts = [
            (grams(hypothesis, size), grams(reference, size)) for hypothesis, reference in pairs
        ]
        matches = sum((left & right).total() for left, right in counts)
        made, wanted = (sum(side.total() for side in sides) for sides in zip(*counts, strict=True))
        if made and wanted:
            precisions.append(matches / made)
            recalls.append(matches / wanted)
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_equals_the_formula():
    pairs = [("the cat sits", "the cat sat there"), ("我喜欢读书", "我喜欢看书")]
    score = chrf([left for left, _ in pairs], [[right] for _, right in pairs])
    assert score.values["chrf"] == pytest.approx(formula(pairs))
    assert score.signature.startswith(
        "chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2."
    )


def test_the_best_reference_of_each_text_counts():
    score = chrf(["a dog", "the cat"], [["nothing", "a dog"], ["the cat"]])
    assert score.values["chrf"] == pytest.approx(100)
