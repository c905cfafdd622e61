"""Rows of text as streams that continue from one batch to the next, for models that carry their
state.
"""

from __future__ import annotations

import numpy as np

from tf_textgen.data import order
from tf_textgen.data.batches import WHOLE, Batch, Field, Part
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.errors import UserError


class Streams:
    """The stream `<s> document </s> <s> document </s> ...`, cut into `batch_size` stretches that
    are read in parallel.

    Row b of a step continues row b of the step before. `resets` is 1 at each `<s>`, and at the
    first token of each row of an
    epoch or an evaluation: the state must be zeros before these tokens. It is an integer, since
    Keras sums features over replicas and TensorFlow cannot sum bool. A label `<s>` has weight 0.

    Training uses the stream as a ring, as `Windows` do, and starts each epoch at another place. An
    evaluation counts each label once. All stretches but the last have the same length, and an epoch
    ends with them. The rest of its last step is padding with weight 0.

    Reference: truncated back-propagation through time, Williams and Peng 1990; the streams as in
    Zaremba et al. 2014, section 4.1.
    """

    def __init__(self, split: TokenizedSplit, context: int, batch_size: int):
        self._split = split
        self._context = context
        self.batch_rows = batch_size
        self._tokens = split.stream_tokens
        self.fields = (
            Field("target_tokens", np.int32, (context,)),
            Field("resets", np.int32, (context,)),
        )

    @property
    def steps_per_epoch(self) -> int:
        needed = self.batch_rows * self._context
        if self._tokens < needed:
            raise UserError(
                f"the {self._split.name} files give {self._tokens} tokens, fewer than one step of "
                f"carried state needs: expected at least {needed} "
                f"(--data.batch_size={self.batch_rows} streams of "
                f"--data.context={self._context}); add text or lower one of them"
            )
        return self._steps(self._tokens)

    @property
    def evaluation_steps(self) -> int:
        return self._steps(self._tokens - 1)

    def training_batch(self, step: int, seed: int, part: Part = WHOLE) -> Batch:
        """Returns the batch of a global step, or a part of it."""
        epoch, step_of_epoch = divmod(step, self._steps(self._tokens))
        phase = order.random_integer(self._tokens, seed, epoch, 1)
        return self._batch(step_of_epoch, self._tokens, phase, part)

    def evaluation_batch(self, step: int, part: Part = WHOLE) -> Batch:
        """Returns the batch of a step of one pass, or a part of it.

        A stretch past the end has weight 0.
        """
        return self._batch(step, self._tokens - 1, 0, part)

    def _steps(self, inputs: int) -> int:
        return max(1, -(-self._stretch(inputs) // self._context))

    def _stretch(self, inputs: int) -> int:
        """Returns the number of inputs of one row, of an epoch that has `inputs` inputs."""
        return -(-inputs // self.batch_rows)

    def _batch(self, step: int, inputs: int, phase: int, part: Part) -> Batch:
        stretch = self._stretch(inputs)
        shape = (part.rows(self.batch_rows), self._context)
        tokens = np.full(shape, self._split.pad_id, np.int32)
        labels = np.full(shape, self._split.pad_id, np.int32)
        counted = np.zeros(shape, bool)
        for i, row in enumerate(part.of(self.batch_rows)):
            start = row * stretch + step * self._context
            stop = min(start + self._context, (row + 1) * stretch, inputs)
            if start < stop:
                count = stop - start
                read = self._split.read_ring(phase + start, count + 1)
                tokens[i, :count] = read[:-1]
                labels[i, :count] = read[1:]
                counted[i, :count] = read[1:] != self._split.bos_id
        resets = tokens == self._split.bos_id
        if step == 0:
            resets[:, 0] = True
        return Batch({"target_tokens": tokens, "resets": resets}, labels, counted)
