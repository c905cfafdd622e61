"""Pairs of texts in batches of similar length, with at most `num_buckets` shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_textgen.data import order, token_streams
from tf_textgen.data.batches import WHOLE, Batch, Field, Part, pad_rows
from tf_textgen.data.split import TokenizedSplit

_SEED_BOUND = 1 << 62


class PairBuckets:
    """Batches of pairs. Subclasses define how a pair becomes rows.

    The bounds of the buckets are quantiles of the lengths of each side, and a pair is in the first
    bucket that all of its sides fit. The width of a bucket is that of its longest pair. Its number
    of rows follows from the budget of padded tokens, and its last batch is filled up with rows of
    weight 0. An epoch contains every batch of every bucket once, in its own order, and permutes the
    pairs within each bucket.
    """

    batch_rows = None

    def __init__(self, split: TokenizedSplit, batch_tokens: int, num_buckets: int):
        self._split = split
        lengths = self._side_lengths(split.lengths("source"), split.lengths("target"))
        bucket = assign_buckets(lengths, num_buckets)
        pairs = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket))[:-1]
        self._members = [group for group in np.split(pairs, ends) if group.size]
        self._widths = [[int(side[group].max()) for side in lengths] for group in self._members]
        self._num_rows = []
        num_batches = []
        for group, widths in zip(self._members, self._widths, strict=True):
            most_rows = max(1, batch_tokens // sum(widths))
            # As few batches as the budget allows, then as few rows as these need.
            batches = -(-len(group) // most_rows)
            num_batches.append(batches)
            self._num_rows.append(-(-len(group) // batches))
        self._first_batch = token_streams.ragged_places(num_batches)

    @property
    def steps_per_epoch(self) -> int:
        return int(self._first_batch[-1])

    @property
    def evaluation_steps(self) -> int:
        return self.steps_per_epoch

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """Returns the batch of a global step, or a part of it."""
        epoch, index = divmod(step, self.steps_per_epoch)
        (batch,) = order.permute(np.array([index]), self.steps_per_epoch, seed, epoch)
        bucket, places = self._places(int(batch))
        bucket_seed = order.random_integer(_SEED_BOUND, seed, bucket)
        permuted = order.permute(places, len(self._members[bucket]), bucket_seed, epoch)
        return self._batch(bucket, permuted, part)

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """Returns a batch of one pass, which goes bucket by bucket, or a part of it."""
        bucket, places = self._places(step)
        return self._batch(bucket, places, part)

    def _places(self, batch: int) -> tuple[int, np.ndarray]:
        """Returns the bucket of a batch, and the indices of its members in the bucket."""
        bucket = int(np.searchsorted(self._first_batch, batch, side="right")) - 1
        num_rows = self._num_rows[bucket]
        start = (batch - int(self._first_batch[bucket])) * num_rows
        stop = min(start + num_rows, len(self._members[bucket]))
        return bucket, np.arange(start, stop)

    def _batch(self, bucket: int, places: np.ndarray, part: Part) -> Batch:
        own = part.of(self._num_rows[bucket])
        members = self._members[bucket][places[own.start : own.stop]]
        pairs = []
        for member in members.tolist():
            source = self._split.document("source", member)
            target = self._split.document("target", member)
            pairs.append((source, target))
        return self._rows(pairs, part.rows(self._num_rows[bucket]), self._widths[bucket])

    def _side_lengths(self, source: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
        """Returns the padded length of each pair, for each side that is padded: `[N]` each."""
        raise NotImplementedError

    def _rows(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_rows: int, widths: Sequence[int]
    ) -> Batch:
        """Returns a batch of `num_rows` rows of these widths; the rows after the pairs have weight
        0.
        """
        raise NotImplementedError


class EncoderDecoderPairs(PairBuckets):
    """Source `ids </s>`, target inputs `<s> ids`, labels `ids </s>`.

    Rows that fill up a batch have the source `</s>` and the target `<s>`, so that attention always
    has something to attend to.
    """

    fields = (
        Field("source_tokens", np.int32, (None,)),
        Field("source_lengths", np.int32, ()),
        Field("target_tokens", np.int32, (None,)),
    )

    def _side_lengths(self, source: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
        return [source + 1, target + 1]

    def _rows(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_rows: int, widths: Sequence[int]
    ) -> Batch:
        split = self._split
        sources = [source for source, _ in pairs]
        targets = [target for _, target in pairs]
        source_width, target_width = widths
        source_tokens = pad_rows(sources, num_rows, source_width, split.source_pad_id)
        source_lengths = np.ones(num_rows, np.int32)
        source_lengths[: len(pairs)] = [len(source) + 1 for source in sources]
        source_tokens[np.arange(num_rows), source_lengths - 1] = split.source_eos_id
        labels = pad_rows(targets, num_rows, target_width, split.pad_id)
        bos = np.full((num_rows, 1), split.bos_id, np.int32)
        target_tokens = np.concatenate([bos, labels[:, :-1]], axis=1)
        ends = np.array([len(target) for target in targets], np.int64)
        labels[np.arange(len(pairs)), ends] = split.eos_id
        counted = np.zeros(labels.shape, bool)
        counted[: len(pairs)] = np.arange(target_width) <= ends[:, None]
        features = {
            "source_tokens": source_tokens,
            "source_lengths": source_lengths,
            "target_tokens": target_tokens,
        }
        return Batch(features, labels, counted)


class DecoderOnlyPairs(PairBuckets):
    """One row `<s> source <sep> target </s>`, of which the target and its `</s>` count."""

    fields = (Field("target_tokens", np.int32, (None,)),)

    def _side_lengths(self, source: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
        return [source + target + 2]

    def _rows(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_rows: int, widths: Sequence[int]
    ) -> Batch:
        split = self._split
        bos = np.array([split.bos_id], np.int32)
        sep = np.array([split.sep_id], np.int32)
        eos = np.array([split.eos_id], np.int32)
        rows = [np.concatenate([bos, source, sep, target, eos]) for source, target in pairs]
        tokens = pad_rows([row[:-1] for row in rows], num_rows, widths[0], split.pad_id)
        tokens[len(pairs) :, 0] = split.bos_id
        labels = pad_rows([row[1:] for row in rows], num_rows, widths[0], split.pad_id)
        counted = np.zeros(labels.shape, bool)
        for index, (source, target) in enumerate(pairs):
            first = len(source) + 1
            counted[index, first : first + len(target) + 1] = True
        return Batch({"target_tokens": tokens}, labels, counted)


def assign_buckets(lengths: Sequence[np.ndarray], num_buckets: int) -> np.ndarray:
    """Assigns pairs to buckets so that padding every pair to the bounds of its bucket costs the
    least.

    The bounds are quantiles, at the same share of each side. Dynamic programming chooses the shares
    from 137 candidates. With equal shares, every pair of the last bucket would be padded to the
    longest.

    Args:
      lengths: `[N]` for each side.
      num_buckets: K.

    Returns:
      `[N]` integers in `[0, K)`.
    """
    shares = np.concatenate([np.arange(1, 128) / 128, 1 - 0.5 ** np.arange(7, 17), [1.0]])
    bounds = [np.quantile(side, shares, method="higher") for side in lengths]
    levels = [np.searchsorted(bound, side) for bound, side in zip(bounds, lengths, strict=True)]
    needed = np.max(levels, axis=0)
    counts = np.bincount(needed, minlength=len(shares))
    ends = _cheapest_ends(counts, np.sum(bounds, axis=0), num_buckets)
    return np.searchsorted(ends, needed)


def _cheapest_ends(counts: np.ndarray, widths: np.ndarray, num_buckets: int) -> np.ndarray:
    """Chooses the levels that end a bucket. A pair costs the width of the level that ends its
    bucket.

    Args:
      counts: `[G]` number of pairs of each level.
      widths: `[G]` number of tokens, increasing.
      num_buckets: largest number of buckets.

    Returns:
      The levels, increasing; the last one is G - 1.
    """
    before = token_streams.ragged_places(counts)
    members = before[None, 1:] - before[:-1, None]
    # cost[i, j] is the cost of a bucket of the levels i to j.
    cost = members * widths.astype(np.float64)
    cost = np.where(np.tri(len(counts), k=-1, dtype=bool), np.inf, cost)
    # least[j] is the least cost of the levels 0 to j with the buckets so far.
    least = cost[0]
    starts = []
    for _ in range(num_buckets - 1):
        costs = np.append(0.0, least[:-1])[:, None] + cost
        starts.append(np.argmin(costs, axis=0))
        least = np.min(costs, axis=0)
    ends = [len(counts) - 1]
    while starts:
        start = int(starts.pop()[ends[-1]])
        if start == 0:
            break
        ends.append(start - 1)
    return np.array(ends[::-1])
