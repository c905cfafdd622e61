"""Distinct n-grams by hand."""

import pytest

from tf_textgen.errors import UserError
from tf_textgen.evaluation.distinct import distinct


def test_by_hand():
    score = distinct(["a b a b", "a c"])
    assert score.values == {"distinct_1": 3 / 6, "distinct_2": 3 / 4, "distinct_3": 2 / 2}
    assert score.signature == "distinct|texts:2|tokens:6|case:mixed|tok:unicode+marks"


def test_ngrams_end_with_their_text_and_none_is_zero():
    assert distinct(["a", "b"]).values == {"distinct_1": 1.0, "distinct_2": 0.0, "distinct_3": 0.0}


def test_no_text_is_refused():
    with pytest.raises(UserError, match="no generated text: expected at least one to judge"):
        distinct([])
