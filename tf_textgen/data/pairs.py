"""Pairs of texts in batches of similar length, of at most `num_buckets` shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_textgen.data import order, token_streams
from tf_textgen.data.batches import WHOLE, Batch, Field, Part, pad_rows
from tf_textgen.data.split import TokenizedSplit

_SEED_BOUND = 1 << 62


class PairBuckets:
    """Batches of pairs; a form says how a pair becomes rows.

    The bounds of the buckets are quantiles of the lengths, for each side apart, and a pair goes where all of its sides
    fit. A bucket's width is its longest member's, its rows follow from the budget of padded tokens, and its last batch
    is filled with rows that have no weight. An epoch is every batch of every bucket once, in an order of its own,
    the pairs within a bucket anew permuted.
    """

    batch_rows = None

    def __init__(self, split: TokenizedSplit, batch_tokens: int, num_buckets: int):
        self._split = split
        lengths = self._side_lengths(
            split.lengths("source"), split.lengths("target")
        )  # sides x [N]
        bucket = assign_buckets(lengths, num_buckets)
        members = np.argsort(bucket, kind="stable")
        self._members = np.split(members, np.cumsum(np.bincount(bucket))[:-1])
        self._members = [group for group in self._members if group.size]
        self._widths = [[int(side[group].max()) for side in lengths] for group in self._members]
        limits = [max(1, batch_tokens // sum(widths)) for widths in self._widths]
        batches = [
            -(-len(group) // limit) for group, limit in zip(self._members, limits, strict=True)
        ]
        # As few batches as the budget allows, then as few rows as these need.
        self._num_rows = [
            -(-len(group) // count) for group, count in zip(self._members, batches, strict=True)
        ]
        self._first_batch = token_streams.ragged_places(batches)

    @property
    def steps_per_epoch(self) -> int:
        return int(self._first_batch[-1])

    @property
    def evaluation_steps(self) -> int:
        return self.steps_per_epoch

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """The batch of a global step, or a part of it."""
        epoch, index = divmod(step, self.steps_per_epoch)
        (batch,) = order.permute(np.array([index]), self.steps_per_epoch, seed, epoch)
        bucket, places = self._places(int(batch))
        bucket_seed = order.random_integer(_SEED_BOUND, seed, bucket)
        return self._batch(
            bucket, order.permute(places, len(self._members[bucket]), bucket_seed, epoch), part
        )

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """The batches bucket by bucket, or a part of one."""
        return self._batch(*self._places(step), part)

    def _places(self, batch: int) -> tuple[int, np.ndarray]:
        """The bucket of a batch, and which of its members stand in it."""
        bucket = int(np.searchsorted(self._first_batch, batch, side="right")) - 1
        start = (batch - int(self._first_batch[bucket])) * self._num_rows[bucket]
        return bucket, np.arange(
            start, min(start + self._num_rows[bucket], len(self._members[bucket]))
        )

    def _batch(self, bucket: int, places: np.ndarray, part: Part) -> Batch:
        own = part.of(self._num_rows[bucket])
        pairs = [
            (self._split.document("source", pair), self._split.document("target", pair))
            for pair in self._members[bucket][places[own.start : own.stop]].tolist()
        ]
        return self._rows(pairs, part.rows(self._num_rows[bucket]), self._widths[bucket])

    def _side_lengths(self, source: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
        raise NotImplementedError

    def _rows(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_rows: int, widths: Sequence[int]
    ) -> Batch:
        raise NotImplementedError


class EncoderDecoderPairs(PairBuckets):
    """Source `ids </s>`, target inputs `<s> ids`, labels `ids </s>`.

    Rows that fill a batch have the source `</s>` and the target `<s>`, so that nothing attends to nothing.
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
        split, rows = self._split, np.arange(num_rows)
        source = pad_rows([source for source, _ in pairs], num_rows, widths[0], split.source_pad_id)
        lengths = np.ones(num_rows, np.int32)
        lengths[: len(pairs)] = [len(source) + 1 for source, _ in pairs]
        source[rows, lengths - 1] = split.source_eos_id
        labels = pad_rows([target for _, target in pairs], num_rows, widths[1], split.pad_id)
        target = np.concatenate(
            [np.full((num_rows, 1), split.bos_id, np.int32), labels[:, :-1]], axis=1
        )
        ends = np.array([len(target) for _, target in pairs], np.int64)
        labels[rows[: len(pairs)], ends] = split.eos_id
        counted = np.zeros(labels.shape, bool)
        counted[: len(pairs)] = np.arange(widths[1]) <= ends[:, None]
        features = {"source_tokens": source, "source_lengths": lengths, "target_tokens": target}
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
        bos, sep, eos = (
            np.array([special], np.int32) for special in (split.bos_id, split.sep_id, split.eos_id)
        )
        whole = [np.concatenate([bos, source, sep, target, eos]) for source, target in pairs]
        tokens = pad_rows([row[:-1] for row in whole], num_rows, widths[0], split.pad_id)
        tokens[len(pairs) :, 0] = split.bos_id
        labels = pad_rows([row[1:] for row in whole], num_rows, widths[0], split.pad_id)
        counted = np.zeros(labels.shape, bool)
        if pairs:
            starts, counts = np.array(
                [(len(source) + 1, len(target) + 1) for source, target in pairs]
            ).T[:, :, None]
            places = np.arange(widths[0])
            counted[: len(pairs)] = (places >= starts) & (places < starts + counts)
        return Batch({"target_tokens": tokens}, labels, counted)


def assign_buckets(lengths: Sequence[np.ndarray], num_buckets: int) -> np.ndarray:
    """The bucket of each pair, such that padding every pair to the bounds of its bucket costs least.

    The bounds are quantiles, the same share of each side; which shares is found among 137 of them by dynamic
    programming. Equal shares would make every pair of the last bucket as long as the longest.

    Args:
      lengths: of each side `[N]`.
      num_buckets: K.

    Returns:
      `[N]` integers in `[0, K)`.
    """
    shares = np.concatenate([np.arange(1, 128) / 128, 1 - 0.5 ** np.arange(7, 17), [1.0]])
    bounds = [np.quantile(side, shares, method="higher") for side in lengths]
    needed = np.max(
        [np.searchsorted(bound, side) for bound, side in zip(bounds, lengths, strict=True)], axis=0
    )
    ends = _cheapest_ends(
        np.bincount(needed, minlength=len(shares)), np.sum(bounds, axis=0), num_buckets
    )
    return np.searchsorted(ends, needed)


def _cheapest_ends(counts: np.ndarray, widths: np.ndarray, num_buckets: int) -> np.ndarray:
    """Which of G levels end a bucket, where a pair costs the width of the level that ends its bucket.

    Args:
      counts: `[G]` pairs of each level.
      widths: `[G]` tokens, rising.
    """
    before = token_streams.ragged_places(counts)
    one = (before[None, 1:] - before[:-1, None]) * widths.astype(
        np.float64
    )  # a bucket of levels i to j
    one = np.where(np.tri(len(counts), k=-1, dtype=bool), np.inf, one)
    total = one[0]  # the least cost of levels 0 to j
    begins = []
    for _ in range(num_buckets - 1):
        ways = np.append(0.0, total[:-1])[:, None] + one
        begins.append(np.argmin(ways, axis=0))
        total = np.min(ways, axis=0)
    ends = [len(counts) - 1]
    while begins and (begin := int(begins.pop()[ends[-1]])):
        ends.append(begin - 1)
    return np.array(ends[::-1])
