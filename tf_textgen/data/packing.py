"""Rows of text as whole documents side by side, which attention and positions keep apart."""

from __future__ import annotations

import numpy as np

from tf_textgen.data import order, token_streams
from tf_textgen.data.batches import WHOLE, Batch, Field, Part
from tf_textgen.data.split import TokenizedSplit


class PackedDocuments:
    """Each row holds documents (inputs `<s> ids`, labels `ids </s>`) with segments 1, 2, ... and 0 for what is free.

    A document longer than a row is cut into pieces of a row's length and a rest, which are segments of their own:
    positions begin at 0 in each. Which documents share a row is settled once, by best fit, longest first; an epoch is
    every row once, in an order of its own. So every label counts once an epoch, and once in an evaluation.

    Reference: Krell et al. 2021, Efficient Sequence Packing without Cross-contamination, arXiv:2107.02027, section 3.
    """

    def __init__(self, split: TokenizedSplit, context: int, batch_size: int):
        self._split, self._context, self.batch_rows = split, context, batch_size
        self._starts, self._lengths = _pieces(split.document_places(), context)
        row_of_piece = pack(self._lengths, context)
        self._pieces = np.argsort(row_of_piece, kind="stable")
        self._first_piece = token_streams.ragged_places(np.bincount(row_of_piece))
        self._rows = len(self._first_piece) - 1
        self.fields = tuple(
            Field(name, np.int32, (context,))
            for name in ("target_tokens", "positions", "segment_ids")
        )

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._rows // self.batch_rows)

    @property
    def evaluation_steps(self) -> int:
        return self.steps_per_epoch

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """The batch of a global step, or a part of it."""
        return self._batch(order.epoch_rows(step, self.batch_rows, self._rows, seed)[1], part)

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """Rows `step * batch_size` and on, or a part of them; rows past the end have no weight."""
        return self._batch(
            np.arange(step * self.batch_rows, min((step + 1) * self.batch_rows, self._rows)), part
        )

    def _batch(self, rows: np.ndarray, part: Part) -> Batch:
        own = part.of(self.batch_rows)
        rows, shape = rows[own.start : own.stop], (part.rows(self.batch_rows), self._context)
        tokens, labels = (np.full(shape, self._split.pad_id, np.int32) for _ in range(2))
        positions, segments = (np.zeros(shape, np.int32) for _ in range(2))
        for index, row in enumerate(rows.tolist()):
            place = 0
            pieces = self._pieces[self._first_piece[row] : self._first_piece[row + 1]]
            for segment, piece in enumerate(pieces.tolist(), start=1):
                start, length = int(self._starts[piece]), int(self._lengths[piece])
                there = (index, slice(place, place + length))
                read = self._split.read(start, start + length + 1)
                tokens[there], labels[there] = read[:-1], read[1:]
                positions[there], segments[there] = np.arange(length), segment
                place += length
        features = {"target_tokens": tokens, "positions": positions, "segment_ids": segments}
        return Batch(features, labels, segments > 0)


def pack(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Puts pieces into rows by best fit, the longest first.

    Args:
      lengths: `[P]` integers in 1 to `capacity`.
      capacity: of a row.

    Returns:
      `[P]` int64: the row of each piece. Rows are numbered from 0 without a gap.
    """
    rows = np.empty(len(lengths), np.int64)
    by_room: dict[int, np.ndarray] = {}  # the rows that have room for so many tokens
    num_rows = 0
    for length in np.unique(lengths)[::-1].tolist():
        waiting = np.flatnonzero(lengths == length)
        for room in sorted(room for room in by_room if room >= length):
            if not waiting.size:
                break
            waiting = _fill(rows, waiting, length, room, by_room.pop(room), by_room)
        if waiting.size:
            new = np.arange(num_rows, num_rows - (-len(waiting) // (capacity // length)))
            num_rows += len(new)
            _fill(rows, waiting, length, capacity, new, by_room)
    return rows


def _fill(
    rows: np.ndarray,
    waiting: np.ndarray,
    length: int,
    room: int,
    free: np.ndarray,
    by_room: dict[int, np.ndarray],
) -> np.ndarray:
    """Puts as many of the `waiting` pieces of one length into rows `free` of one `room` as fit; returns the rest."""
    per_row = room // length
    placed = min(len(waiting), per_row * len(free))
    rows[waiting[:placed]] = np.repeat(free, per_row)[:placed]
    full, more = divmod(placed, per_row)
    for left, part in (
        (room - per_row * length, free[:full]),
        (room - more * length, free[full : full + (more > 0)]),
        (room, free[full + (more > 0) :]),
    ):
        if left and part.size:
            by_room[left] = np.append(by_room.get(left, part[:0]), part)
    return waiting[placed:]


def _pieces(places: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each piece begins in the stream, and its inputs: `[P]` each, from the `[D + 1]` places of documents."""
    inputs = np.diff(places) - 1  # the `</s>` is a label alone
    count = -(-inputs // context)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    starts = np.repeat(places[:-1], count) + within * context
    return starts, np.minimum(np.repeat(inputs, count) - within * context, context)
