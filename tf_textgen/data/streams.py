"""Rows of text as streams that go on from one batch to the next, for models that carry their state along."""

from __future__ import annotations

import numpy as np

from tf_textgen.data import order
from tf_textgen.data.batches import WHOLE, Batch, Field, Part
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.errors import UserError


class Streams:
    """The stream `<s> document </s> <s> document </s> ...` cut into `batch_size` stretches, read side by side.

    Row b of one step goes on where row b of the step before ended. `resets` is 1 at each `<s>`, and at the first
    token of each row of an epoch or an evaluation: before these tokens the state has to be zeros (an integer, since
    Keras sums features over replicas, which TensorFlow cannot do with bool). A label `<s>` has weight 0.

    Training takes the stream as a ring, as `Windows` do, and begins each epoch at another place. An evaluation counts
    each label once. The stretches are equally long but for the last, and an epoch ends with them: what its last step
    has beyond is padding without weight.

    Reference: truncated back-propagation through time, Williams and Peng 1990; the streams as in Zaremba et al. 2014,
    section 4.1.
    """

    def __init__(self, split: TokenizedSplit, context: int, batch_size: int):
        self._split, self._context, self.batch_rows = split, context, batch_size
        self._tokens = split.stream_tokens
        self.fields = tuple(
            Field(name, np.int32, (context,)) for name in ("target_tokens", "resets")
        )

    @property
    def steps_per_epoch(self) -> int:
        needed = self.batch_rows * self._context
        if self._tokens < needed:
            raise UserError(
                f"the {self._split.name} files give {self._tokens} tokens, fewer than one step of carried state needs: "
                f"expected at least {needed} (--data.batch_size={self.batch_rows} streams of "
                f"--data.context={self._context}); add text or lower one of them"
            )
        return self._steps(self._tokens)

    @property
    def evaluation_steps(self) -> int:
        return self._steps(self._tokens - 1)

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """The batch of a global step, or a part of it."""
        epoch, step_of_epoch = divmod(step, self._steps(self._tokens))
        return self._batch(
            step_of_epoch, self._tokens, order.random_integer(self._tokens, seed, epoch, 1), part
        )

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """The step-th batch of one pass, or a part of it; a stretch past the end has no weight."""
        return self._batch(step, self._tokens - 1, 0, part)

    def _steps(self, places: int) -> int:
        return max(1, -(-self._stretch(places) // self._context))

    def _stretch(self, places: int) -> int:
        """Inputs of one row in an epoch whose inputs stand at `places` places."""
        return -(-places // self.batch_rows)

    def _batch(self, step: int, places: int, phase: int, part: Part) -> Batch:
        stretch, shape = self._stretch(places), (part.rows(self.batch_rows), self._context)
        tokens, labels = (np.full(shape, self._split.pad_id, np.int32) for _ in range(2))
        counted = np.zeros(shape, bool)
        for i, row in enumerate(part.of(self.batch_rows)):
            start = row * stretch + step * self._context
            stop = min(start + self._context, (row + 1) * stretch, places)
            if start < stop:
                read = self._ring(phase + start, stop - start + 1)
                there = (i, slice(stop - start))
                tokens[there], labels[there], counted[there] = (
                    read[:-1],
                    read[1:],
                    read[1:] != self._split.bos_id,
                )
        resets = tokens == self._split.bos_id
        if step == 0:
            resets[:, 0] = True
        return Batch({"target_tokens": tokens, "resets": resets}, labels, counted)

    def _ring(self, start: int, count: int) -> np.ndarray:
        """`count` tokens from `start` on, the last followed by the first."""
        start %= self._tokens
        stop = start + count
        tokens = self._split.read(start, min(stop, self._tokens))
        return (
            tokens
            if stop <= self._tokens
            else np.append(tokens, self._split.read(0, stop - self._tokens))
        )
