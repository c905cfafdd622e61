"""Searching with one hypothesis a row, picked greedily or by sampling: what is picked is kept.

A search can start at the point at which an earlier one paused, and continues as if that had never
paused; one that starts from the prompt has no tokens yet. All that a search knows of a row's past
follows from the row's tokens, but for one
thing: how much of a forced word is written. The model may have begun the same word by itself, and
then may leave it.

Rows pause after different numbers of tokens, so their tokens so far are aligned to the right: all
rows write one column at each step. A row whose tokens begin `first` columns later is given its
draws, bounds and prefix as many columns later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.constraints import Constraints
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.loop import (
    Detokenize,
    Search,
    Step,
    Written,
    bounded_rows,
    loop_periods,
    make_search,
    run,
)
from tf_textgen.decoding.parameters import Parameters, neutral_where
from tf_textgen.decoding.sampling import log_probability, pick, uniforms
from tf_textgen.decoding.state import History, Progress


class Begun(NamedTuple):
    """The rows so far; `C` columns, at least as many as the longest row's tokens."""

    tokens: tf.Tensor  # [B, C] int32, aligned to the right, pad before
    lengths: tf.Tensor  # [B] int32, fewer than the row's `max_new_tokens`
    word: tf.Tensor  # [B] int32, as in `forcing.Forcing`
    place: tf.Tensor  # [B] int32, as in `forcing.Forcing`
    more: tf.Tensor  # [B] int32, at least 1: how many tokens to add before the row pauses

    @property
    def first(self) -> tf.Tensor:
        """The column of each row's first token, `[B]` int32."""
        return tf.shape(self.tokens)[1] - self.lengths


_ROWS = tf.TensorSpec([None], tf.int32)
BEGUN_SPECS = Begun(tf.TensorSpec([None, None], tf.int32), _ROWS, _ROWS, _ROWS, _ROWS)


def nothing_begun(rows: tf.Tensor, more: int) -> Begun:
    """No tokens yet in any of `rows` rows."""
    none = tf.zeros([rows], tf.int32)
    return Begun(tf.zeros([rows, 0], tf.int32), none, none, none, tf.fill([rows], more))


class Decoded(NamedTuple):
    """Continuations; `N` is the batch's largest number of tokens, with the columns of what had been
    begun.

    The end token, and the token that completed a stop string, belong to `tokens`, `token_count` and
    `score`. The text ends before the stop string.
    """

    tokens: tf.Tensor  # [B, N] int32, from the column `first` on; pad before it and after the end
    token_count: tf.Tensor  # [B] int32, of all tokens
    log_probabilities: tf.Tensor  # [B, N] float32, before any processor; 0 without a new token
    score: tf.Tensor  # [B] float32, sum of log_probabilities
    finish_reason: tf.Tensor  # [B] string: "eos", "length", "stop" or "loop"; "" if a row pauses
    texts: tf.Tensor  # [B] string of all tokens, bytes as `detokenize` gave them; empty without it
    first: tf.Tensor  # [B] int32, 0 if nothing had been begun in any row
    word: tf.Tensor  # [B] int32, for `Begun.word`; 0 if no word is being written
    place: tf.Tensor  # [B] int32, for `Begun.place`


def decode(
    logits: tf.Tensor,
    state: Any,
    step: Step,
    parameters: Parameters,
    *,
    prompt_tokens: tf.Tensor,
    prompt_lengths: tf.Tensor,
    eos_id: int,
    max_new_tokens: int,
    pad_id: int = 0,
    banned_ids: Sequence[int] = (),
    constraints: Constraints | None = None,
    detokenize: Detokenize | None = None,
    begun: Begun | None = None,
) -> Decoded:
    """Continues each row by sampling, or greedily if its temperature is 0.

    A row's result depends only on its own prompt and parameters, and not on where earlier searches
    paused. If no token is left (all logits -inf, or NaN), the row ends with the end token, or goes
    on with a forced word that it misses. Its score is finite if the model's own logits are.

    Args:
      logits: `[B, V]` float32 of each row's last position; `V` is static.
      state: nest of `[B, ...]` tensors as `step` takes it.
      step: `(tokens [B] int32, state) -> (logits [B, V], state)`; rows that have ended get pad.
      parameters: of the whole rows, within the bounds that `parameters.sanitize` checks.
      prompt_tokens: `[B, P]` int32, left-padded; with the tokens so far, as the model has read
        them.
      prompt_lengths: `[B]` int32, number of the last tokens of `prompt_tokens` that belong to the
        text. Logits processors do not see those before, which are the source of a target.
      eos_id: the end token.
      max_new_tokens: bound of `parameters.max_new_tokens`.
      pad_id: fills `tokens` after the end of a row.
      banned_ids: never generated; padding has to be among them where something has been begun.
      constraints: the words of `parameters` as tokens (`constraints.parse`); None leaves them out
        of account.
      detokenize: `[B, N]` int32 -> `[B]` string, dropping pad and the end token. Without it there
        are no texts and stop strings are ignored.
      begun: the rows so far; None if they have no tokens yet and do not pause.
    """
    parameters, constraints, *prompts = bounded_rows(
        parameters, constraints, prompt_tokens, prompt_lengths, max_new_tokens
    )
    begun = nothing_begun(tf.shape(prompt_lengths)[0], max_new_tokens) if begun is None else begun
    columns = tf.shape(begun.tokens)[1]
    first = begun.first
    longest = tf.maximum(parameters.max_new_tokens, begun.lengths + 1) + first
    pause = tf.minimum(columns + begun.more, longest)
    steps = tf.maximum(tf.reduce_max(pause), columns + 1)  # the maximum of no rows is negative
    later = parameters._replace(
        min_new_tokens=parameters.min_new_tokens + first, max_new_tokens=longest
    )
    constraints = constraints._replace(prefix=_later(constraints.prefix, first, columns))
    search = make_search(
        SingleSearch,
        (later, constraints, *prompts),
        (eos_id, pad_id, tuple(banned_ids)),
        detokenize,
        begun=begun,
        pause=pause,
        draws=_draws(parameters, steps, first),
    )
    return search.decoded(run(search.advance, search.begin(), logits, state, step))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleSearch(Search):
    """A search with one hypothesis a row."""

    begun: Begun
    pause: tf.Tensor  # [B] int32, the column before which each row pauses
    draws: tf.Tensor  # [B, N] float64, uniforms

    def history(self, progress: Written) -> History:
        return super().history(progress)._replace(overlap=tf.shape(self.begun.tokens)[1])

    def begin(self) -> Progress:
        """The tokens so far."""
        begun = self.begun
        words = self.constraints.forced
        (rows, columns) = tf.unstack(tf.shape(begun.tokens))
        steps = tf.shape(self.draws)[1]
        no_repeats = tf.zeros([rows, loop_periods(self.parameters, steps)], tf.int32)
        return Progress(
            step=columns,
            tokens=tf.concat([begun.tokens, tf.fill([rows, steps - columns], self.pad_id)], axis=1),
            log_probabilities=tf.zeros([rows, steps]),
            token_count=begun.lengths,
            finish=tf.fill([rows], stopping.RUNNING),
            forcing=forcing.resume(words, begun.tokens, begun.word, begun.place),
            repeats=stopping.recount_repeats(no_repeats, begun.tokens),
            text=self._begin_text(),
        )

    def advance(self, progress: Progress, logits: tf.Tensor) -> Progress:
        """Appends one token to every running row, given the logits `[B, V]` float32 of its next."""
        running = tf.equal(progress.finish, stopping.RUNNING)
        chosen, forced = self._choose(progress, logits, running)
        log_probabilities = log_probability(logits, chosen)
        written, finish = self.append(
            progress, chosen, log_probabilities, running=running, forced=forced
        )
        pauses = tf.equal(finish, stopping.RUNNING) & (written.step >= self.pause)
        finish = tf.where(pauses, stopping.PAUSED, finish)
        return written._replace(
            token_count=progress.token_count + tf.cast(running, tf.int32),
            finish=tf.where(running, finish, progress.finish),
            # A row that has paused is reported as it was then.
            forcing=written.forcing._replace(
                word=tf.where(running, written.forcing.word, progress.forcing.word),
                place=tf.where(running, written.forcing.place, progress.forcing.place),
            ),
        )

    def decoded(self, progress: Progress) -> Decoded:
        """The result of the search."""
        texts = progress.text
        if self.detokenize is not None:
            stopped = tf.equal(progress.finish, stopping.STOP)
            texts = tf.where(stopped, progress.text, self.detokenize(progress.tokens))
        score = tf.reduce_sum(tf.cast(progress.log_probabilities, tf.float64), axis=-1)
        word = progress.forcing.word
        place = progress.forcing.place
        return Decoded(
            tokens=progress.tokens,
            token_count=progress.token_count,
            log_probabilities=progress.log_probabilities,
            score=tf.saturate_cast(score, tf.float32),
            finish_reason=tf.gather(tf.constant(stopping.REASONS), progress.finish),
            texts=texts,
            first=self.begun.first,
            word=tf.where(place > 0, word, 0),  # else its number depends on the words of other rows
            place=place,
        )

    def _choose(
        self, progress: Progress, logits: tf.Tensor, running: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The next token of each row, and `[B]` bool whether it is one of a forced word's."""
        asked = neutral_where(~running, self.parameters)
        words = self.constraints.forced
        adjusted = adjust(
            logits,
            asked,
            self.constraints,
            self.history(progress),
            eos_id=self.eos_id,
            banned_ids=self.banned_ids,
            replaces_end=True,
        )
        chosen = pick(adjusted, self.draws[:, progress.step], asked)
        possible = tf.reduce_max(adjusted, axis=-1) > -float("inf")
        chosen = tf.where(possible, chosen, self.eos_id)

        def force() -> tuple[tf.Tensor, tf.Tensor]:
            early = tf.equal(chosen, self.eos_id) & forcing.missing(progress.forcing)
            due = forcing.is_due(
                progress.forcing, words, self.parameters.max_new_tokens - progress.step
            )
            return tf.where(early, forcing.next_token(progress.forcing, words), chosen), early | due

        return tf.cond(
            tf.reduce_any(words.lengths > 0), force, lambda: (chosen, tf.zeros_like(running))
        )

    def _begin_text(self) -> tf.Tensor:
        """The texts so far where stop strings are looked for."""
        wanted = tf.not_equal(self.parameters.stop, "")
        nothing = tf.fill(tf.shape(self.pause), "")
        if self.detokenize is None:
            return nothing
        detokenize = self.detokenize
        return tf.cond(
            tf.reduce_any(wanted),
            lambda: tf.where(wanted, detokenize(self.begun.tokens), ""),
            lambda: nothing,
        )


def _draws(parameters: Parameters, steps: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """The uniforms of each row and column, `[B, N]` float64, a row's from `first` on; not made
    if no row samples.
    """

    def make() -> tf.Tensor:
        at = tf.maximum(tf.range(steps) - first[:, tf.newaxis], 0)
        return tf.gather(uniforms(parameters.seed, steps), at, batch_dims=1)

    asked = tf.reduce_any(parameters.temperature > 0.0)
    return tf.cond(asked, make, lambda: tf.zeros([tf.shape(parameters.seed)[0], steps], tf.float64))


def _later(prefix: tf.Tensor, first: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Each row's prefix `[B, Q]` moved by `first` columns: `[B, C + Q]`, or no columns where no row
    has any.
    """
    length = tf.shape(prefix)[1]
    at = tf.range(tf.where(length > 0, columns + length, 0)) - first[:, tf.newaxis]
    at = tf.where((at >= 0) & (at < length), at, length)
    return tf.gather(tf.pad(prefix, [[0, 0], [0, 1]], constant_values=-1), at, batch_dims=1)
