"""What is counted of a split: its labels, with what stands before them in their document."""

import numpy as np
import pytest

from tests.support.data_files import pairs_split, text_split
from tests.support.kneser_ney_oracle import Oracle
from tf_textgen.training.counting import count, describe_estimate

PAD, BOS, EOS, SEP = 0, 2, 3, 4
TEXTS = [b"abab", b"", b"abcabcd" * 3, b"b", "ä".encode(), b"aab" * 5]
PAIRS = [(b"ab", b"ba"), (b"a", b""), (b"abcabc", b"cbacba"), (b"", b"b"), (b"bb", b"bb")] * 3


def _compare(found, rows, order):
    """Every n-gram of every order, and the unigrams."""
    oracle = Oracle(rows, order, [i for i in range(261) if i not in (PAD, BOS, SEP)], BOS)
    np.testing.assert_allclose(
        found.unigrams, [oracle.probability(i, ()) for i in range(261)], rtol=1e-6
    )
    below = [()]
    for n, level in enumerate(found.levels, start=2):
        contexts = [(int(key % 262), *below[key // 262]) for key in level.keys[:-1]]
        assert set(contexts) == {ngram[:-1] for ngram in oracle.counts[n]}
        for number, context in enumerate(contexts):
            entries = slice(level.offsets[number], level.offsets[number + 1])
            words = level.tokens[entries].tolist()
            assert words == sorted(oracle.continuations[context])
            lower = [oracle.probability(word, context[1:]) for word in words]
            got = level.probabilities[entries] + level.back_offs[number] * np.array(lower)
            np.testing.assert_allclose(
                got, [oracle.probability(word, context) for word in words], rtol=1e-5
            )
        below = contexts


@pytest.mark.parametrize("order", [1, 2, 4, 6])
@pytest.mark.parametrize("chunk_tokens", [1, 5, 1000])
def test_text_in_chunks_of_any_size(tmp_path, order, chunk_tokens):
    split, _ = text_split(tmp_path, TEXTS)
    rows = [split.document("text", i).tolist() for i in range(split.num_documents)]
    _compare(
        count(split, order, chunk_tokens), [(row, [t != BOS for t in row]) for row in rows], order
    )


@pytest.mark.parametrize("order", [1, 2, 4, 6])
@pytest.mark.parametrize("chunk_tokens", [1, 30, 1000])
def test_pairs_count_their_targets_in_chunks_of_any_size(tmp_path, order, chunk_tokens):
    split, _ = pairs_split(tmp_path, PAIRS)
    rows = []
    for i in range(split.num_documents):
        source, target = (split.document(side, i).tolist() for side in ("source", "target"))
        counted = [False] * (len(source) + 2) + [True] * (len(target) + 1)
        rows.append(([BOS, *source, SEP, *target, EOS], counted))
    _compare(count(split, order, chunk_tokens), rows, order)


def test_the_part_of_a_split_is_counted_alone(tmp_path):
    from tf_textgen.data.split import TokenizedSplit
    from tf_textgen.text.bytes import ByteTokenizer

    whole, _ = pairs_split(tmp_path, PAIRS)
    part = TokenizedSplit("train", whole.shards, ByteTokenizer(), 2, 5)
    rows = [
        ([BOS, *s, SEP, *t, EOS], [False] * (len(s) + 2) + [True] * (len(t) + 1))
        for s, t in (
            [whole.document(side, i).tolist() for side in ("source", "target")] for i in range(2, 5)
        )
    ]
    _compare(count(part, 3), rows, 3)


def test_discounts_that_stand_in_are_told(tmp_path):
    split, _ = text_split(tmp_path, [b"abab"])
    first, second = describe_estimate(count(split, 2))
    assert first.startswith("order 1: discounts 0.5 1 1.5, which are used instead, as ")
    assert second.startswith(
        "order 2: 3 contexts, 4 n-grams, discounts 0.5 1 1.5, which are used instead, as 3, 1, 0, 0 n-grams"
    )
    split, _ = text_split(
        tmp_path, [bytes(np.random.default_rng(0).choice(range(97, 123), 3000).tolist())]
    )
    assert "used instead" not in describe_estimate(count(split, 2))[1]
