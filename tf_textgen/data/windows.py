"""Rows of text as contiguous windows of the stream `<s> document </s> <s> document </s> ...`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_textgen.data import order
from tf_textgen.data.batches import WHOLE, Batch, Field, Part, pad_rows
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.errors import UserError


class Windows:
    """Windows of a stream.

    The inputs of a row are `context` tokens of the stream. The labels are the same tokens, shifted
    by one. A label `<s>` has weight 0.

    Training uses the stream as a ring: its last `</s>` is followed by its first `<s>`. Each epoch
    starts at another place and has `num_tokens // context` whole windows, which do not overlap. An
    evaluation starts at the first token and counts each label once; its last window is padded.

    Args:
      split: the text.
      context: number of tokens of a row.
      batch_size: number of rows of a batch.
      stride: distance between the starts of the windows of an evaluation; None is `context`.
    """

    def __init__(
        self, split: TokenizedSplit, context: int, batch_size: int, stride: int | None = None
    ):
        self._split = split
        self._context = context
        self.batch_rows = batch_size
        self._stride = context if stride is None else stride
        if not 1 <= self._stride <= context:
            raise UserError(
                f"stride {stride}: expected 1 to {context} (--data.context); choose one of these"
            )
        self._tokens = split.stream_tokens
        self._rows = self._tokens // context
        self.evaluation_rows = 1 + -(-max(0, self._tokens - 1 - context) // self._stride)
        self.fields = (Field("target_tokens", np.int32, (context,)),)

    @property
    def steps_per_epoch(self) -> int:
        if self._tokens <= self._context:
            raise UserError(
                f"the {self._split.name} files give {self._tokens} tokens, fewer than one window "
                f"needs: expected at least {self._context + 1} (--data.context={self._context}); "
                "add text or shorten the context"
            )
        return -(-self._rows // self.batch_rows)

    @property
    def evaluation_steps(self) -> int:
        return -(-self.evaluation_rows // self.batch_rows)

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """Returns the batch of a global step, or a part of it."""
        epochs, rows = order.epoch_rows(step, self.batch_rows, self._rows, seed)
        windows = []
        for i in part.of(self.batch_rows):
            phase = order.random_integer(self._tokens, seed, int(epochs[i]), 1)
            start = phase + int(rows[i]) * self._context
            windows.append(self._split.read_ring(start, self._context + 1))
        counted = np.zeros((part.rows(self.batch_rows), self._context), bool)
        counted[: len(windows)] = True
        return self._batch(windows, counted)

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """Returns the rows from `step * batch_size`, or a part of them.

        Rows past the end have weight 0.
        """
        first = step * self.batch_rows
        windows = []
        counted = np.zeros((part.rows(self.batch_rows), self._context), bool)
        for i, place in enumerate(part.of(self.batch_rows)):
            row = first + place
            if row >= self.evaluation_rows:
                break
            start = row * self._stride
            window = self._split.read(start, min(start + self._context + 1, self._tokens))
            # The window before has counted the labels of the overlap.
            first_counted = 0 if row == 0 else self._context - self._stride
            counted[i, first_counted : len(window) - 1] = True
            windows.append(window)
        return self._batch(windows, counted)

    def _batch(self, windows: Sequence[np.ndarray], counted: np.ndarray) -> Batch:
        """Returns the windows, followed by rows that start with `<s>` up to the number of rows of
        `counted`.
        """
        tokens = pad_rows(windows, len(counted), self._context + 1, self._split.pad_id)
        tokens[len(windows) :, 0] = self._split.bos_id
        labels = tokens[:, 1:]
        counted = counted & (labels != self._split.bos_id)
        return Batch({"target_tokens": tokens[:, :-1]}, labels, counted)
