"""Counts of n-grams, gathered chunk by chunk. Does not import TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class NGramTable(NamedTuple):
    """Different n-grams with their counts, `R` of them, sorted by their columns from the first on.

    Attributes:
      history: `[R]` int64 each: the token before the label, the one before that, ..., `order - 1`
        of them; the size of the vocabulary means "before the document's beginning".
      labels: `[R]` int64.
      counts: `[R]` int64.
    """

    history: tuple[np.ndarray, ...]
    labels: np.ndarray
    counts: np.ndarray


class NGramCounts:
    """Counts every label with the tokens before it, back to its document's `<s>` and no further.

    One table of the longest n-grams is enough: all shorter ones are their ends. It is kept as
    sorted, packed int64 keys, so memory grows with the number of different n-grams and one chunk.

    Args:
      order: tokens of the longest n-gram, label included.
      vocabulary_size: V.
      bos_id: begins each document.
    """

    def __init__(self, order: int, vocabulary_size: int, bos_id: int) -> None:
        self.order = order
        self.vocabulary_size = vocabulary_size
        self.bos_id = bos_id
        self._bits = vocabulary_size.bit_length()  # holds 0 to V
        self._per_word = 63 // self._bits
        words = -(-order // self._per_word)
        self._total = _Packed([np.zeros(0, np.int64)] * words, np.zeros(0, np.int64))
        self._waiting: list[_Packed] = []

    def add(self, tokens: np.ndarray, counted: np.ndarray) -> None:
        """Counts the labels of a chunk.

        Args:
          tokens: `[M]` integers: whole documents one after the other, or a stretch of them that has
            at least `order - 1` tokens, or its document's beginning, before the first label that is
            counted.
          counted: `[M]` bool, which tokens are labels to count.
        """
        places = np.flatnonzero(counted)
        begins = np.where(tokens == self.bos_id, np.arange(len(tokens)), -self.order)
        reach = places - np.maximum.accumulate(begins)[places]
        columns = [
            np.where(
                back <= np.minimum(reach, places),
                tokens[np.maximum(places - back, 0)],
                self.vocabulary_size,
            )
            for back in range(1, self.order)
        ]
        words = self._pack([*columns, tokens[places]])
        self._waiting.append(_merged([_Packed(words, np.ones(len(places), np.int64))]))
        # Merging when the new are as many as the old keeps the work at n log n.
        if sum(len(table.counts) for table in self._waiting) >= len(self._total.counts):
            self._merge()

    def table(self) -> NGramTable:
        """All that was counted."""
        self._merge()
        columns: list[np.ndarray] = []
        for place in range(self.order):
            word, within = divmod(place, self._per_word)
            shift = self._bits * (self._width(word) - 1 - within)
            columns.append((self._total.words[word] >> shift) & ((1 << self._bits) - 1))
        return NGramTable(tuple(columns[:-1]), columns[-1], self._total.counts)

    def _merge(self) -> None:
        self._total = _merged([self._total, *self._waiting])
        self._waiting = []

    def _width(self, word: int) -> int:
        """Tokens in a packed word; the last may have fewer."""
        return min(self._per_word, self.order - word * self._per_word)

    def _pack(self, columns: list[np.ndarray]) -> list[np.ndarray]:
        """`order` columns as few int64 columns of the same lexicographic order."""
        words = []
        for start in range(0, self.order, self._per_word):
            word = np.zeros(len(columns[0]), np.int64)
            for column in columns[start : start + self._per_word]:
                word = (word << self._bits) | column
            words.append(word)
        return words


class _Packed(NamedTuple):
    words: list[np.ndarray]
    counts: np.ndarray


def _merged(tables: list[_Packed]) -> _Packed:
    """One sorted table, the counts of equal rows added."""
    words = [
        np.concatenate(column) for column in zip(*(table.words for table in tables), strict=True)
    ]
    counts = np.concatenate([table.counts for table in tables])
    order = np.argsort(words[0]) if len(words) == 1 else np.lexsort(words[::-1])
    words = [word[order] for word in words]
    first = np.zeros(len(counts), bool)
    first[:1] = True
    for word in words:
        first[1:] |= word[1:] != word[:-1]
    starts = np.flatnonzero(first)
    return _Packed(
        [word[starts] for word in words],
        np.add.reduceat(counts[order], starts) if len(counts) else counts,
    )
