import collections

import numpy as np
import pytest

from tf_textgen.models.ngram_counts import NGramCounts

BOS = 2


def _documents(vocabulary_size, count=40):
    rng = np.random.default_rng(0)
    alphabet = rng.integers(3, vocabulary_size, 5)
    rows = [np.append(BOS, rng.choice(alphabet, rng.integers(1, 12))) for _ in range(count)]
    return np.concatenate(rows)


def _by_hand(tokens, order, unknown):
    found, history = collections.Counter(), []
    for token in tokens.tolist():
        if token == BOS:
            history = []
        else:
            found[tuple((history[::-1] + [unknown] * order)[: order - 1]), token] += 1
        history.append(token)
    return found


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("vocabulary_size", [8, 300, 50_257, 2**31 - 1])
def test_counts_and_their_order(order, vocabulary_size):
    """Vocabularies whose n-grams fit one packed key, and those that take up to three."""
    tokens = _documents(vocabulary_size)
    counts = NGramCounts(order, vocabulary_size, BOS)
    for part in np.split(tokens, np.flatnonzero(tokens == BOS)[[5, 6, 30]]):
        counts.add(part, part != BOS)
    history, labels, numbers = counts.table()
    rows = (
        list(zip(zip(*history, strict=True), labels, strict=True))
        if history
        else [((), w) for w in labels]
    )
    assert rows == sorted(rows) and len(set(rows)) == len(rows)
    assert dict(zip(rows, numbers.tolist(), strict=True)) == _by_hand(
        tokens, order, vocabulary_size
    )
    assert numbers.sum() == (tokens != BOS).sum()


def test_many_small_chunks_are_merged_as_they_come():
    counts = NGramCounts(2, 8, BOS)
    for _ in range(100):
        counts.add(np.array([BOS, 5, 6]), np.array([False, True, True]))
    history, labels, numbers = counts.table()
    assert (history[0].tolist(), labels.tolist(), numbers.tolist()) == (
        [BOS, 5],
        [5, 6],
        [100, 100],
    )


def test_a_chunk_without_labels_counts_nothing():
    counts = NGramCounts(3, 8, BOS)
    counts.add(np.array([BOS]), np.array([False]))
    counts.add(np.array([], np.int32), np.array([], bool))
    assert len(counts.table().labels) == 0
