"""Rows of text that contain whole documents, which attention and positions keep separate."""

from __future__ import annotations

import numpy as np

from tf_textgen.data import order, token_streams
from tf_textgen.data.batches import WHOLE, Batch, Field, Part
from tf_textgen.data.split import TokenizedSplit


class PackedDocuments:
    """Rows of documents (inputs `<s> ids`, labels `ids </s>`) with segment ids 1, 2, ..., and 0 for
    padding.

    A document that is longer than a row is cut into pieces of the length of a row and a rest. Each
    piece is a segment of its own, with positions from 0. The documents of a row are chosen once, by
    best fit, longest first. An epoch contains every row once, in its own order, so every label
    counts once in an epoch and once in an evaluation.

    Reference: Krell et al. 2021, Efficient Sequence Packing without Cross-contamination,
    arXiv:2107.02027, section 3.
    """

    def __init__(self, split: TokenizedSplit, context: int, batch_size: int):
        self._split = split
        self._context = context
        self.batch_rows = batch_size
        self._starts, self._lengths = _pieces(split.document_places(), context)
        row_of_piece = pack(self._lengths, context)
        self._pieces = np.argsort(row_of_piece, kind="stable")
        self._first_piece = token_streams.ragged_places(np.bincount(row_of_piece))
        self._rows = len(self._first_piece) - 1
        names = ("target_tokens", "positions", "segment_ids")
        self.fields = tuple(Field(name, np.int32, (context,)) for name in names)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._rows // self.batch_rows)

    @property
    def evaluation_steps(self) -> int:
        return self.steps_per_epoch

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """Returns the batch of a global step, or a part of it."""
        _, rows = order.epoch_rows(step, self.batch_rows, self._rows, seed)
        return self._batch(rows, part)

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """Returns the rows from `step * batch_size`, or a part of them.

        Rows past the end have weight 0.
        """
        first = step * self.batch_rows
        return self._batch(np.arange(first, min(first + self.batch_rows, self._rows)), part)

    def _batch(self, rows: np.ndarray, part: Part) -> Batch:
        own = part.of(self.batch_rows)
        rows = rows[own.start : own.stop]
        shape = (part.rows(self.batch_rows), self._context)
        tokens = np.full(shape, self._split.pad_id, np.int32)
        labels = np.full(shape, self._split.pad_id, np.int32)
        positions = np.zeros(shape, np.int32)
        segments = np.zeros(shape, np.int32)
        for index, row in enumerate(rows.tolist()):
            place = 0
            pieces = self._pieces[self._first_piece[row] : self._first_piece[row + 1]]
            for segment, piece in enumerate(pieces.tolist(), start=1):
                start = int(self._starts[piece])
                length = int(self._lengths[piece])
                columns = slice(place, place + length)
                read = self._split.read(start, start + length + 1)
                tokens[index, columns] = read[:-1]
                labels[index, columns] = read[1:]
                positions[index, columns] = np.arange(length)
                segments[index, columns] = segment
                place += length
        features = {"target_tokens": tokens, "positions": positions, "segment_ids": segments}
        return Batch(features, labels, segments > 0)


def pack(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Assigns pieces to rows by best fit, longest first.

    Args:
      lengths: `[P]` integers in 1 to `capacity`.
      capacity: number of tokens of a row.

    Returns:
      `[P]` int64: the row of each piece. Rows are numbered from 0 without a gap.
    """
    rows = np.empty(len(lengths), np.int64)
    rows_by_room: dict[int, np.ndarray] = {}
    num_rows = 0
    for length in np.unique(lengths)[::-1].tolist():
        waiting = np.flatnonzero(lengths == length)
        for room in sorted(room for room in rows_by_room if room >= length):
            if not waiting.size:
                break
            free = rows_by_room.pop(room)
            waiting = _fill(rows, waiting, length, room, free, rows_by_room)
        if waiting.size:
            num_new = -(-len(waiting) // (capacity // length))
            new = np.arange(num_rows, num_rows + num_new)
            num_rows += num_new
            _fill(rows, waiting, length, capacity, new, rows_by_room)
    return rows


def _fill(
    rows: np.ndarray,
    waiting: np.ndarray,
    length: int,
    room: int,
    free: np.ndarray,
    rows_by_room: dict[int, np.ndarray],
) -> np.ndarray:
    """Assigns pieces of one length to rows with the same room.

    Args:
      rows: the row of each piece; written to.
      waiting: the pieces without a row.
      length: of each of these pieces.
      room: free tokens of each row of `free`.
      free: the rows.
      rows_by_room: room -> rows; the rows of `free` that are not full are added.

    Returns:
      The pieces that do not fit.
    """
    per_row = room // length
    placed = min(len(waiting), per_row * len(free))
    rows[waiting[:placed]] = np.repeat(free, per_row)[:placed]
    num_full, rest = divmod(placed, per_row)
    num_used = num_full + (rest > 0)
    parts = (
        (room - per_row * length, free[:num_full]),
        (room - rest * length, free[num_full:num_used]),
        (room, free[num_used:]),
    )
    for left, part in parts:
        if left and part.size:
            known = rows_by_room.get(left, part[:0])
            rows_by_room[left] = np.append(known, part)
    return waiting[placed:]


def _pieces(places: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the start in the stream and the number of inputs of each piece: `[P]` each.

    Args:
      places: `[D + 1]`, the start of each document and the end of the last.
      context: largest number of inputs of a piece.
    """
    inputs = np.diff(places) - 1  # the `</s>` is only a label
    count = -(-inputs // context)
    first_piece = np.repeat(np.cumsum(count) - count, count)
    within = np.arange(count.sum()) - first_piece
    starts = np.repeat(places[:-1], count) + within * context
    remaining = np.repeat(inputs, count) - within * context
    return starts, np.minimum(remaining, context)
