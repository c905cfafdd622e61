"""Interpolated modified Kneser-Ney with dictionaries, formula by formula (Chen and Goodman 1999,
section 3).
"""

from __future__ import annotations

import collections


class Oracle:
    """p(w | h) of rows that begin with `bos`.

    Args:
      rows: `(tokens, counted)` each: a list of ids, and which of them are labels.
      order: tokens of the longest n-gram.
      vocabulary: ids among which the uniform distribution is shared.
      bos: what begins a row; its n-grams have nothing before them.
    """

    def __init__(self, rows, order, vocabulary, bos):
        self.order, self.vocabulary, self.bos = order, list(vocabulary), bos
        raw = [collections.Counter() for _ in range(order + 1)]
        for tokens, counted in rows:
            for place, is_label in enumerate(counted):
                for n in range(1, order + 1):
                    if is_label and place - n + 1 >= 0:
                        raw[n][tuple(tokens[place - n + 1 : place + 1])] += 1
        self.counts = [collections.Counter() for _ in range(order + 1)]
        for n in range(1, order + 1):
            if n < order:
                before = collections.defaultdict(set)
                for ngram in raw[n + 1]:
                    before[ngram[1:]].add(ngram[0])
            for ngram, count in raw[n].items():
                self.counts[n][ngram] = (
                    count if n == order or ngram[0] == bos else len(before[ngram])
                )
        self.discounts = [None, *(self._discounts(n) for n in range(1, order + 1))]
        self.continuations = collections.defaultdict(dict)
        for n in range(1, order + 1):
            for ngram, count in self.counts[n].items():
                self.continuations[ngram[:-1]][ngram[-1]] = count
        self._known = {}

    def _discounts(self, n):
        """D1, D2, D3+ and whether they are estimates."""
        of = collections.Counter(self.counts[n].values())
        n1, n2, n3, n4 = (of[count] for count in (1, 2, 3, 4))
        if n1 and n2 and n3 and n4:
            y = n1 / (n1 + 2 * n2)
            d1, d2, d3 = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
            if 0 < d1 <= 1 and 0 < d2 <= 2 and 0 < d3 <= 3:
                return d1, d2, d3, True
        return 0.5, 1.0, 1.5, False

    def probability(self, word, history):
        """`history` is a list of ids, the last one nearest; what stands before its last `bos` is
        not read.
        """
        history = tuple(history)[-(self.order - 1) :] if self.order > 1 else ()
        if self.bos in history:
            history = history[len(history) - 1 - history[::-1].index(self.bos) :]
        return self._interpolated(word, history)

    def _interpolated(self, word, history):
        if (word, history) in self._known:
            return self._known[word, history]
        if history:
            lower = self._interpolated(word, history[1:])
        else:
            lower = 1 / len(self.vocabulary) if word in self.vocabulary else 0.0
        seen = self.continuations[history]
        if not seen:
            return lower
        total = sum(seen.values())
        d1, d2, d3, _ = self.discounts[len(history) + 1]
        discount = {0: 0.0, 1: d1, 2: d2}
        share = max(seen.get(word, 0) - discount.get(seen.get(word, 0), d3), 0) / total
        n1, n2 = (sum(count == k for count in seen.values()) for k in (1, 2))
        n3 = sum(count >= 3 for count in seen.values())
        value = share + (d1 * n1 + d2 * n2 + d3 * n3) / total * lower
        self._known[word, history] = value
        return value
