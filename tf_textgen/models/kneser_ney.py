"""Interpolated modified Kneser-Ney smoothing: from counts to the arrays of an n-gram model. Imports
no TensorFlow.

    p(w | h) = max(a(h w) - D(a(h w)), 0) / sum_v a(h v)  +  b(h) p(w | h without its oldest token)
    b(h) = (D_1 N_1(h) + D_2 N_2(h) + D_3+ N_3+(h)) / sum_v a(h v)

`a` is the count in the longest n-grams, and in those that begin with `<s>`, which nothing precedes;
elsewhere it is the number of different tokens seen before the n-gram. `N_1(h)`, ... are the numbers
of continuations of h with a = 1, 2 and more, and the unigrams are interpolated with the uniform
distribution over all ids that can be labels.

Reference:
  Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1999,
  section 3. Heafield et al., "Scalable Modified Kneser-Ney Language Model Estimation", 2013,
  section 3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from tf_textgen.errors import UserError
from tf_textgen.models.ngram_counts import NGramTable

NO_KEY = np.iinfo(np.int64).max
FALLBACK = (0.5, 1.0, 1.5)


class Discounts(NamedTuple):
    """The discounts of counts of 1, of 2, and of 3 and more, in one order.

    Attributes:
      values: the three.
      counts_of_counts: number of n-grams with a count of 1, 2, 3 and 4.
      estimated: False if these give no discounts in (0, 1], (0, 2] and (0, 3], as in tiny data
        or among few unigrams, and `FALLBACK` (KenLM's) is used.
    """

    values: tuple[float, float, float]
    counts_of_counts: tuple[int, int, int, int]
    estimated: bool


class Level(NamedTuple):
    """One order above 1: `C` contexts, `E` n-grams. The last context represents all that were never
    seen.

    Attributes:
      keys: `[C + 1]` int64 rising: `parent * (V + 1) + token` of each context, which is the context
        `parent` of the order below with one `token` more before it; NO_KEY.
      offsets: `[C + 2]` int64: if the n-grams of each context begin, and their end.
      back_offs: `[C + 1]` float32: weight of the order below; 1 of what was never seen.
      tokens: `[E]` int32, last tokens of the n-grams, rising within a context.
      probabilities: `[E]` float32, discounted.
    """

    keys: np.ndarray
    offsets: np.ndarray
    back_offs: np.ndarray
    tokens: np.ndarray
    probabilities: np.ndarray


class Estimate(NamedTuple):
    """An n-gram model.

    Attributes:
      unigrams: `[V]` float32, probabilities.
      levels: of orders 2, 3, ...
      discounts: of orders 1, 2, ...
    """

    unigrams: np.ndarray
    levels: tuple[Level, ...]
    discounts: tuple[Discounts, ...]

    @property
    def contexts(self) -> tuple[int, ...]:
        """C of orders 2, 3, ..."""
        return tuple(len(level.back_offs) - 1 for level in self.levels)

    @property
    def continuations(self) -> tuple[int, ...]:
        """E of orders 2, 3, ..."""
        return tuple(len(level.tokens) for level in self.levels)


def estimate(
    table: NGramTable, vocabulary_size: int, never_labels: Collection[int] = ()
) -> Estimate:
    """Smooths the counts of `table`.

    Args:
      table: n-grams of the longest order.
      vocabulary_size: V.
      never_labels: ids that cannot be labels; they get no part of the uniform distribution.

    Raises:
      UserError: if nothing was counted, or no document is as long as the order.
    """
    if not len(table.labels):
        raise UserError(
            "--ngram.order: there is no token to count; expected training data with text"
        )
    contexts = _contexts(table, vocabulary_size)
    group = contexts[-1].group
    labels = table.labels
    counts = table.counts
    levels: list[Level] = []
    discounts: list[Discounts] = []
    for context in reversed(contexts[1:]):
        whole = context.is_whole[group]
        rows = _discounted(context.number[group[whole]], labels[whole], counts[whole])
        discounts.append(rows.discounts)
        levels.append(_level(context, rows))
        # Each n-gram is one way to continue to the left from its end; what `<s>` begins keeps its
        # count.
        counts = np.where(whole, 1, counts)
        group, labels, counts = _summed(context.parent[group], labels, counts, vocabulary_size)
    rows = _discounted(np.zeros_like(labels), labels, counts)
    discounts.append(rows.discounts)
    unigrams = np.full(vocabulary_size, rows.back_offs[0] / (vocabulary_size - len(never_labels)))
    unigrams[list(never_labels)] = 0.0
    unigrams[rows.tokens] += rows.probabilities
    return Estimate(unigrams.astype(np.float32), tuple(levels[::-1]), tuple(discounts[::-1]))


class _Contexts(NamedTuple):
    """The contexts of one length, those cut short by a document's beginning included: `P` of them.

    Attributes:
      group: `[R]` context of each n-gram of the table.
      parent: `[P]` the context without its oldest token.
      is_whole: `[P]` whether it has its full length.
      number: `[P]` place among the whole ones.
      keys: of the whole ones.
    """

    group: np.ndarray
    parent: np.ndarray
    is_whole: np.ndarray
    number: np.ndarray
    keys: np.ndarray


def _contexts(table: NGramTable, vocabulary_size: int) -> list[_Contexts]:
    """The contexts of length 0, 1, ...; sorted n-grams have those of one context next to each
    other.
    """
    begins = np.zeros(len(table.labels), bool)
    begins[0] = True
    nothing = np.zeros(len(begins), np.int64)
    one = np.zeros(1, np.int64)
    found = [_Contexts(nothing, one, np.ones(1, bool), one, one)]
    for length, oldest in enumerate(table.history, start=1):
        begins[1:] |= oldest[1:] != oldest[:-1]
        first = np.flatnonzero(begins)
        before = found[-1]
        parent = before.group[first]
        oldest = oldest[first]
        is_whole = oldest != vocabulary_size
        if not is_whole.any():
            raise UserError(
                f"--ngram.order={len(table.history) + 1}: no document has {length} tokens before a "
                f"label, its <s> included; expected at most {length} for this data; lower the order"
            )
        keys = (before.number[parent] * (vocabulary_size + 1) + oldest)[is_whole]
        found.append(
            _Contexts(np.cumsum(begins) - 1, parent, is_whole, np.cumsum(is_whole) - 1, keys)
        )
    return found


def _summed(
    group: np.ndarray, labels: np.ndarray, counts: np.ndarray, vocabulary_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows sorted by group and label, the counts of equal ones added."""
    keys = group * vocabulary_size + labels
    order = np.argsort(keys)
    keys, starts = np.unique(keys[order], return_index=True)
    return *np.divmod(keys, vocabulary_size), np.add.reduceat(counts[order], starts)


class _Discounted(NamedTuple):
    discounts: Discounts
    sizes: np.ndarray  # [C] n-grams of each context
    back_offs: np.ndarray  # [C] float64
    tokens: np.ndarray  # [E]
    probabilities: np.ndarray  # [E] float64


def _discounted(context: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> _Discounted:
    """Of n-grams sorted by context, which is numbered from 0 without a gap."""
    discounts = modified_discounts(np.bincount(np.minimum(counts, 5), minlength=6)[1:5])
    taken = np.array(discounts.values)[np.minimum(counts, 3) - 1]
    totals = np.bincount(context, counts)
    back_offs = np.bincount(context, taken) / totals
    return _Discounted(
        discounts, np.bincount(context), back_offs, labels, (counts - taken) / totals[context]
    )


def modified_discounts(counts_of_counts: np.ndarray) -> Discounts:
    """D_1, D_2 and D_3+ from the numbers of n-grams with counts 1 to 4 (Chen and Goodman 1999,
    equation 26).
    """
    found = tuple(int(number) for number in counts_of_counts)
    n1, n2, n3, n4 = found
    values = FALLBACK
    if all(found):
        y = n1 / (n1 + 2 * n2)
        values = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    estimated = all(found) and all(
        0.0 < value <= most for most, value in enumerate(values, start=1)
    )
    return Discounts(values if estimated else FALLBACK, (n1, n2, n3, n4), estimated)


def _level(contexts: _Contexts, rows: _Discounted) -> Level:
    ends = np.cumsum(rows.sizes)
    return Level(
        keys=np.append(contexts.keys, NO_KEY),
        offsets=np.concatenate([[0], ends, ends[-1:]]),
        back_offs=np.append(rows.back_offs, 1.0).astype(np.float32),
        tokens=rows.tokens.astype(np.int32),
        probabilities=rows.probabilities.astype(np.float32),
    )
