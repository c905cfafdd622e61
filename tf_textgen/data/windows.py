"""Rows of text as contiguous windows of the stream `<s> document </s> <s> document </s> ...`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tf_textgen.data import order
from tf_textgen.data.batches import WHOLE, Batch, Field, Part, pad_rows
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.errors import UserError


class Windows:
    """Inputs are `context` tokens of the stream, labels the same one place later; a label `<s>` has weight 0.

    Training takes the stream as a ring, its last `</s>` followed by its first `<s>`, and begins each epoch at another
    place: an epoch is `num_tokens // context` whole windows, of which no two overlap.
    Evaluation begins at the first token and counts each label once; the last window is padded.
    """

    def __init__(
        self, split: TokenizedSplit, context: int, batch_size: int, stride: int | None = None
    ):
        self._split, self._context, self.batch_rows = split, context, batch_size
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
                f"the {self._split.name} files give {self._tokens} tokens, fewer than one window needs: expected at "
                f"least {self._context + 1} (--data.context={self._context}); add text or shorten the context"
            )
        return -(-self._rows // self.batch_rows)

    @property
    def evaluation_steps(self) -> int:
        return -(-self.evaluation_rows // self.batch_rows)

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """The batch of a global step, or a part of it."""
        epochs, rows = order.epoch_rows(step, self.batch_rows, self._rows, seed)
        read = []
        for i in part.of(self.batch_rows):
            phase = order.random_integer(self._tokens, seed, int(epochs[i]), 1)
            read.append(self._ring(phase + int(rows[i]) * self._context))
        counted = np.zeros((part.rows(self.batch_rows), self._context), bool)
        counted[: len(read)] = True
        return self._batch(read, counted)

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """Rows `step * batch_size` and on, or a part of them; rows past the end have no weight."""
        first = step * self.batch_rows
        read, counted = [], np.zeros((part.rows(self.batch_rows), self._context), bool)
        for i, row in enumerate(first + place for place in part.of(self.batch_rows)):
            if row < self.evaluation_rows:
                start = row * self._stride
                tokens = self._split.read(start, min(start + self._context + 1, self._tokens))
                counted[i, 0 if row == 0 else self._context - self._stride : len(tokens) - 1] = True
                read.append(tokens)
        return self._batch(read, counted)

    def _ring(self, start: int) -> np.ndarray:
        start %= self._tokens
        stop = start + self._context + 1
        tokens = self._split.read(start, min(stop, self._tokens))
        return (
            tokens
            if stop <= self._tokens
            else np.append(tokens, self._split.read(0, stop - self._tokens))
        )

    def _batch(self, read: Sequence[np.ndarray], counted: np.ndarray) -> Batch:
        """The rows that were read, and rows `<s>` up to the number of those of `counted`."""
        tokens = pad_rows(read, len(counted), self._context + 1, self._split.pad_id)
        tokens[len(read) :, 0] = self._split.bos_id
        labels = tokens[:, 1:]
        return Batch(
            {"target_tokens": tokens[:, :-1]}, labels, counted & (labels != self._split.bos_id)
        )
