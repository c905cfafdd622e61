"""Decoding in chunks: a search goes on where an earlier one paused, as though it had never paused.

What a search knows of a row's past follows from the row's tokens, but for one thing: how much of a forced word is
written. The model may have begun the same word by itself, and then may leave it.

Rows pause after different numbers of tokens, so their tokens so far are aligned to the right: all rows write one
column at each step. A row whose tokens begin `first` columns later is given its draws, bounds and prefix as many
columns later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.constraints import Constraints
from tf_textgen.decoding.loop import (
    Decoded,
    Detokenize,
    SingleSearch,
    Step,
    Written,
    bounded_rows,
    decoded,
    draws,
    loop_periods,
    make_search,
    run,
)
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.state import History, Progress, initial_progress


class Begun(NamedTuple):
    """What the rows have so far; `C` columns, at least as many as the longest row's tokens."""

    tokens: tf.Tensor  # [B, C] int32, aligned to the right, pad before
    lengths: tf.Tensor  # [B] int32, fewer than the row's `max_new_tokens`
    word: tf.Tensor  # [B] int32, as in `forcing.Forcing`
    place: tf.Tensor  # [B] int32, as in `forcing.Forcing`
    more: tf.Tensor  # [B] int32, at least 1: how many tokens to add before the row pauses

    @property
    def first(self) -> tf.Tensor:
        """The column of each row's first token, `[B]` int32."""
        return tf.shape(self.tokens)[1] - self.lengths


def decode_chunk(
    logits: tf.Tensor,
    state: Any,
    step: Step,
    parameters: Parameters,
    begun: Begun,
    *,
    prompt_tokens: tf.Tensor,
    prompt_lengths: tf.Tensor,
    eos_id: int,
    max_new_tokens: int,
    pad_id: int = 0,
    banned_ids: Sequence[int] = (),
    constraints: Constraints | None = None,
    detokenize: Detokenize | None = None,
) -> tuple[Decoded, forcing.Forcing]:
    """Adds up to `begun.more` tokens to each row, the same that `loop.decode` gives it at once.

    Args:
      logits, state: of the model, which has read prompts and tokens so far.
      step, parameters: as `loop.decode` takes them.
      begun: the rows so far.
      prompt_tokens, prompt_lengths: of the prompts with the tokens so far, of which the model needs the same form.
      eos_id, max_new_tokens, pad_id, banned_ids, constraints, detokenize: as `loop.decode` takes them; padding must be
        banned.

    Returns:
      What the rows have now, `C` columns more than are new: tokens stand from `begun.first` on, `score` and
      `log_probabilities` are those of the new tokens, and a row that pauses has the finish reason "". And how far the
      forced words are.
    """
    parameters, constraints, *prompts = bounded_rows(
        parameters, constraints, prompt_tokens, prompt_lengths, max_new_tokens
    )
    columns, first = tf.shape(begun.tokens)[1], begun.first
    longest = tf.maximum(parameters.max_new_tokens, begun.lengths + 1) + first
    pause = tf.minimum(columns + begun.more, longest)
    steps = tf.maximum(tf.reduce_max(pause), columns + 1)  # the maximum of no rows is negative
    later = parameters._replace(min_new_tokens=parameters.min_new_tokens + first, max_new_tokens=longest)
    at = tf.maximum(tf.range(steps) - first[:, tf.newaxis], 0)
    own = {
        "draws": tf.gather(draws(parameters, steps), at, batch_dims=1),
        "begun": begun,
        "pause": pause,
        "steps": steps,
    }
    constraints = constraints._replace(prefix=_later(constraints.prefix, first, columns))
    ids = (eos_id, pad_id, tuple(banned_ids))
    search = make_search(ChunkSearch, (later, constraints, *prompts), ids, detokenize, **own)
    progress = run(search.advance, search.begin(), logits, state, step)
    return decoded(progress, detokenize), progress.forcing


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkSearch(SingleSearch):
    """A search that begins with tokens and pauses."""

    begun: Begun
    pause: tf.Tensor  # [B] int32, the column before which each row pauses
    steps: tf.Tensor  # [] int32, columns

    def history(self, progress: Written) -> History:
        return super().history(progress)._replace(overlap=tf.shape(self.begun.tokens)[1])

    def begin(self) -> Progress:
        begun, words = self.begun, self.constraints.forced
        rows, columns = tf.unstack(tf.shape(begun.tokens))
        progress = initial_progress(
            rows,
            self.steps,
            pad_id=self.pad_id,
            forcing=forcing.resume(words, begun.tokens, begun.word, begun.place),
            periods=loop_periods(self.parameters, self.steps),
        )
        return progress._replace(
            step=columns,
            tokens=tf.concat([begun.tokens, progress.tokens[:, columns:]], axis=1),
            token_count=begun.lengths,
            repeats=stopping.recount_repeats(progress.repeats, begun.tokens),
            text=self._begin_text(),
        )

    def advance(self, progress: Progress, logits: tf.Tensor) -> Progress:
        running, before = tf.equal(progress.finish, stopping.RUNNING), progress.forcing
        progress = super().advance(progress, logits)
        pauses = tf.equal(progress.finish, stopping.RUNNING) & (progress.step >= self.pause)
        return progress._replace(
            finish=tf.where(pauses, stopping.PAUSED, progress.finish),
            # A row that has paused is told as it was then.
            forcing=progress.forcing._replace(
                word=tf.where(running, progress.forcing.word, before.word),
                place=tf.where(running, progress.forcing.place, before.place),
            ),
        )

    def _begin_text(self) -> tf.Tensor:
        """The texts so far where stop strings are looked for."""
        wanted, nothing = tf.not_equal(self.parameters.stop, ""), tf.fill(tf.shape(self.pause), "")
        if self.detokenize is None:
            return nothing
        detokenize = self.detokenize
        return tf.cond(
            tf.reduce_any(wanted), lambda: tf.where(wanted, detokenize(self.begun.tokens), ""), lambda: nothing
        )


def _later(prefix: tf.Tensor, first: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Each row's prefix `[B, Q]` moved by `first` columns: `[B, C + Q]`, or no columns where no row has any."""
    length = tf.shape(prefix)[1]
    at = tf.range(tf.where(length > 0, columns + length, 0)) - first[:, tf.newaxis]
    at = tf.where((at >= 0) & (at < length), at, length)
    return tf.gather(tf.pad(prefix, [[0, 0], [0, 1]], constant_values=-1), at, batch_dims=1)
