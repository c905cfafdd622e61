"""BLEU: by hand, several references, tokens by script."""

import dataclasses
import math

import pytest

from tf_textgen.errors import UserError
from tf_textgen.evaluation import rouge
from tf_textgen.evaluation.bleu import TOKENIZERS, bleu
from tf_textgen.judging.evaluation_config import EvaluationConfig


def test_by_hand():
    # 1- to 4-grams of "a b c d x" in "a b c d e f": 4 of 5, 3 of 4, 2 of 3, 1 of 2; shorter, hence
    # the penalty.
    score = bleu(["a b c d x"], [["a b c d e f"]])
    penalty = math.exp(1 - 6 / 5)
    assert score.values["bleu"] == pytest.approx(
        100 * penalty * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    )
    assert score.values["bleu_brevity_penalty"] == pytest.approx(penalty)
    assert score.values["bleu_length_ratio"] == pytest.approx(5 / 6)
    assert score.signature.startswith(
        "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2."
    )


def test_counts_are_of_the_corpus_not_a_mean_of_texts():
    score = bleu(["a b c d", "x y z v"], [["a b c d"], ["o p q r s t u w"]])
    # 4/8 words, 3/6, 2/4, 1/2; 8 words of 12.
    assert score.values["bleu"] == pytest.approx(100 * math.exp(1 - 12 / 8) * 0.5)


def test_ngrams_of_any_reference_count_and_texts_may_have_different_numbers():
    score = bleu(["a b c d e f", "k l m n"], [["a b c d q q", "q q c d e f"], ["k l m n"]])
    # All words, pairs and triples stand in a reference; of the four 4-grams, "b c d e" does not.
    expected = (1 * 1 * 1 * 3 / 4) ** 0.25
    assert score.values["bleu"] == pytest.approx(100 * expected) and "nrefs:var" in score.signature


def test_chinese_is_judged_by_characters():
    score = bleu(["我喜欢读书。"], [["我喜欢看书。"]])
    assert "tok:zh" in score.signature
    # 5 of 6 characters; pairs 3 of 5, triples 1 of 4, fours 0 of 3: smoothed to 1/2 of one.
    assert score.values["bleu"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 0.5 / 3) ** 0.25)
    assert "tok:13a" in bleu(["a"], [["a"]], tokenizer="13a").signature


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (["a"], [["a"], ["b"]], "1 generated texts and references of 2: expected as many of each"),
        ([], [], "no generated text: expected at least one"),
        (["a"], [[]], "the references of text 1 are none: expected a sequence of at least one"),
        (["a"], ["a"], "the references of text 1 are one text: expected a sequence"),
    ],
)
def test_what_is_not_aligned_is_refused(hypotheses, references, message):
    with pytest.raises(UserError, match=message):
        bleu(hypotheses, references)


def test_flags_name_the_tokenizers():
    """The configuration lists them again, because flags are parsed before libraries are
    imported.
    """
    for name, tokenizers in (("bleu_tokenizer", TOKENIZERS), ("rouge_tokenizer", rouge.TOKENIZERS)):
        (entry,) = [entry for entry in dataclasses.fields(EvaluationConfig) if entry.name == name]
        assert entry.metadata["choices"] == ("auto", *tokenizers)
