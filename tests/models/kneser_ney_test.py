import numpy as np
import pytest

from tf_textgen.errors import UserError
from tf_textgen.models.kneser_ney import estimate, modified_discounts
from tf_textgen.models.ngram_counts import NGramCounts

BOS = 2


def _table(order, rows):
    tokens = np.concatenate(rows)
    counts = NGramCounts(order, 8, BOS)
    counts.add(tokens, tokens != BOS)
    return counts.table()


def test_discounts_of_known_counts():
    """Y = 100 / 180."""
    found = modified_discounts(np.array([100, 40, 20, 10]))
    assert found.estimated and found.counts_of_counts == (100, 40, 20, 10)
    y = 100 / 180
    np.testing.assert_allclose(found.values, [1 - 0.8 * y, 2 - 1.5 * y, 3 - 2 * y])


@pytest.mark.parametrize("numbers", [(0, 4, 3, 2), (4, 3, 2, 0), (1, 1, 9, 1), (10, 1, 1, 9)])
def test_discounts_without_an_estimate_stand_in(numbers):
    found = modified_discounts(np.array(numbers))
    assert not found.estimated and found.values == (0.5, 1.0, 1.5)


def test_bigrams_by_hand():
    """`<s> a b`, `<s> a a`: a has continuations a and b once, `<s>` has a twice; all discounts
    stand in.
    """
    found = estimate(_table(2, [[BOS, 5, 6], [BOS, 5, 5]]), 8, (0, BOS, 4))
    level = found.levels[0]
    assert level.keys[:-1].tolist() == [BOS, 5] and level.tokens.tolist() == [5, 5, 6]
    np.testing.assert_allclose(level.probabilities, [(2 - 1) / 2, 0.25, 0.25])
    np.testing.assert_allclose(level.back_offs, [0.5, 0.5, 1.0])
    # a follows `<s>` and a, b follows a: continuation counts 2 and 1 of 3; five ids share what is
    # taken from them.
    unigrams = np.array([0, 0.1, 0, 0.1, 0, 0.1 + 1 / 3, 0.1 + 0.5 / 3, 0.1])
    np.testing.assert_allclose(found.unigrams, unigrams, rtol=1e-6)


def test_data_too_short_for_the_order_is_named():
    with pytest.raises(
        UserError,
        match=r"--ngram.order=4: no document has 3 tokens before a label, its <s> included; ex",
    ):
        estimate(_table(4, [[BOS, 5, 6]]), 8)
    assert len(estimate(_table(3, [[BOS, 5, 6]]), 8).levels) == 2


def test_no_data_is_named():
    with pytest.raises(
        UserError, match="there is no token to count; expected training data with text"
    ):
        estimate(_table(3, [[BOS]]), 8)
