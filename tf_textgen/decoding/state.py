"""The state of the decoding loop."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.forcing import Forcing


class Progress(NamedTuple):
    """The continuations so far; `N` columns, as in `single_search.Decoded`.

    Attributes:
      step: scalar int32, the column that is written next.
      tokens: `[B, N]` int32, aligned to the right up to `step`; pad elsewhere.
      log_probabilities: `[B, N]` float32, 0 beyond a row's end.
      token_count: `[B]` int32, with the tokens of earlier searches.
      finish: `[B]` int32, index into `stopping.REASONS`.
      forcing: the forced words that are written.
      repeats: `[B, R]` int32 of `stopping.count_repeats`; R is 0 if no row checks loops.
      text: `[B]` string, kept if stop strings are looked for.
    """

    step: tf.Tensor
    tokens: tf.Tensor
    log_probabilities: tf.Tensor
    token_count: tf.Tensor
    finish: tf.Tensor
    forcing: Forcing
    repeats: tf.Tensor
    text: tf.Tensor


class History(NamedTuple):
    """All that the logits processors know of the rows' past.

    The source of a target is no prompt, and is not part of the sequence. A prompt ends at the start
    of its continuation, so that both together are one sequence with one end for all rows.

    Attributes:
      prompt_tokens: `[B, P]` int32, left-padded.
      prompt_lengths: `[B]` int32, number of the last tokens of `prompt_tokens` that belong to the
        text.
      tokens: `[B, N]` int32, the continuations; those from `step` on are not read.
      step: scalar int32.
      forcing: of the rows.
      overlap: scalar int32, number of columns of `tokens` that are the end of `prompt_tokens` too.
    """

    prompt_tokens: tf.Tensor
    prompt_lengths: tf.Tensor
    tokens: tf.Tensor
    step: tf.Tensor
    forcing: Forcing
    overlap: tf.Tensor | int = 0

    @property
    def sequence(self) -> tf.Tensor:
        """Prompt and continuation, `[B, P + N]` int32."""
        return tf.concat([self.prompt_tokens, self.tokens[:, self.overlap :]], axis=1)

    @property
    def start(self) -> tf.Tensor:
        """The column of `sequence` in which each row begins, `[B]` int32."""
        return tf.shape(self.prompt_tokens)[1] - self.prompt_lengths

    @property
    def end(self) -> tf.Tensor:
        """The column of `sequence` of the next token of every row, scalar int32."""
        return tf.shape(self.prompt_tokens)[1] + self.step - self.overlap


def write_column(matrix: tf.Tensor, column: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`matrix[:, column] = values`, in place if TensorFlow can.

    `[B, N]`, scalar, `[B]` -> `[B, N]`.
    """
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=matrix,
        begin=tf.stack([0, column]),
        end=tf.stack([0, column + 1]),
        strides=[1, 1],
        value=values,
        begin_mask=1,
        end_mask=1,
        shrink_axis_mask=2,
    )
