"""Searching with one hypothesis a row, picked greedily or by sampling: what is picked is kept.

A search can continue rows that an earlier search has paused, and gives the same texts as one that
does not pause. A row's tokens determine all that a search knows of its past, except how much of a
forced word is written: the model may have started the same word by itself, and then may leave it.

Rows pause after different numbers of tokens, so their earlier tokens are aligned to the right: all
rows write one column at each step. A row whose tokens start `first` columns later is given its
draws, bounds and prefix as many columns later.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.loop import Step, run
from tf_textgen.decoding.parameters import Parameters, neutral_where
from tf_textgen.decoding.sampling import log_probability, pick, uniforms
from tf_textgen.decoding.search import Search, SearchInputs, Written, loop_periods, make_search
from tf_textgen.decoding.state import History, Progress


class Paused(NamedTuple):
    """Rows that an earlier search has paused, in `C` columns.

    Attributes:
      tokens: `[B, C]` int32, aligned to the right, pad before.
      lengths: `[B]` int32, fewer than the row's `max_new_tokens`.
      word: `[B]` int32, as in `forcing.Forcing`.
      place: `[B]` int32, as in `forcing.Forcing`.
      more: `[B]` int32, at least 1: number of tokens to add before the row pauses again.
    """

    tokens: tf.Tensor
    lengths: tf.Tensor
    word: tf.Tensor
    place: tf.Tensor
    more: tf.Tensor

    @property
    def first(self) -> tf.Tensor:
        """The column of each row's first token, `[B]` int32."""
        return tf.shape(self.tokens)[1] - self.lengths


_ROWS = tf.TensorSpec([None], tf.int32)
PAUSED_SPECS = Paused(
    tokens=tf.TensorSpec([None, None], tf.int32),
    lengths=_ROWS,
    word=_ROWS,
    place=_ROWS,
    more=_ROWS,
)


def not_started(rows: tf.Tensor, more: int) -> Paused:
    """Rows without tokens.

    Args:
      rows: scalar int32, their number.
      more: number of tokens to add before they pause.
    """
    zeros = tf.zeros([rows], tf.int32)
    return Paused(
        tokens=tf.zeros([rows, 0], tf.int32),
        lengths=zeros,
        word=zeros,
        place=zeros,
        more=tf.fill([rows], more),
    )


class Decoded(NamedTuple):
    """Continuations in `N` columns, those of earlier tokens included.

    The end token, and the token that completed a stop string, belong to `tokens`, `token_count` and
    `score`. The text ends before the stop string.

    Attributes:
      tokens: `[B, N]` int32, from the column `first` on; pad before it and after the end.
      token_count: `[B]` int32, of all tokens.
      log_probabilities: `[B, N]` float32, before any processor; 0 without a new token.
      score: `[B]` float32, sum of `log_probabilities`.
      finish_reason: `[B]` string: "eos", "length", "stop" or "loop"; "" if a row pauses.
      texts: `[B]` string of all tokens, bytes as `detokenize` gives them; empty without it.
      first: `[B]` int32, 0 if no row has earlier tokens.
      word: `[B]` int32, for `Paused.word`; 0 if no word is being written.
      place: `[B]` int32, for `Paused.place`.
    """

    tokens: tf.Tensor
    token_count: tf.Tensor
    log_probabilities: tf.Tensor
    score: tf.Tensor
    finish_reason: tf.Tensor
    texts: tf.Tensor
    first: tf.Tensor
    word: tf.Tensor
    place: tf.Tensor


def decode(
    logits: tf.Tensor,
    state: Any,
    step: Step,
    inputs: SearchInputs,
    *,
    paused: Paused | None = None,
) -> Decoded:
    """Continues each row by sampling, or greedily if its temperature is 0.

    A row's result depends only on its own prompt and parameters, and not on the places at which
    earlier searches paused. If no token is left (all logits -inf, or NaN), the row ends with the
    end token, or continues with a forced word that it misses. Its score is finite if the model's
    own logits are.

    Args:
      logits: `[B, V]` float32 of each row's last position; `V` is static.
      state: nest of `[B, ...]` tensors as `step` takes it.
      step: `(tokens [B] int32, state) -> (logits [B, V], state)`; rows that have ended get pad.
      inputs: of the rows.
      paused: the rows so far; None if they have no tokens and do not pause.
    """
    inputs = inputs.bounded()
    parameters = inputs.parameters
    if paused is None:
        paused = not_started(tf.shape(inputs.prompt_lengths)[0], inputs.max_new_tokens)
    columns = tf.shape(paused.tokens)[1]
    first = paused.first
    end = tf.maximum(parameters.max_new_tokens, paused.lengths + 1) + first
    pause = tf.minimum(columns + paused.more, end)
    # The maximum of no rows is negative.
    steps = tf.maximum(tf.reduce_max(pause), columns + 1)
    moved = parameters._replace(
        min_new_tokens=parameters.min_new_tokens + first,
        max_new_tokens=end,
    )
    constraints = inputs.constraints
    prefix = _moved_prefix(constraints.prefix, first, columns)
    search = make_search(
        SingleSearch,
        inputs.replace(parameters=moved, constraints=constraints._replace(prefix=prefix)),
        paused=paused,
        pause=pause,
        draws=_draws(parameters, steps, first),
    )
    progress = run(search.advance, search.start(), logits, state, step)
    return search.decoded(progress)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleSearch(Search):
    """A search with one hypothesis a row.

    Attributes:
      paused: the rows so far.
      pause: `[B]` int32, the column before which each row pauses.
      draws: `[B, N]` float64, uniforms.
    """

    paused: Paused
    pause: tf.Tensor
    draws: tf.Tensor

    def history(self, progress: Written) -> History:
        history = super().history(progress)
        return history._replace(overlap=tf.shape(self.paused.tokens)[1])

    def start(self) -> Progress:
        """The progress before the first new token."""
        tokens = self.paused.tokens
        rows, columns = tf.unstack(tf.shape(tokens))
        steps = tf.shape(self.draws)[1]
        unwritten = tf.fill([rows, steps - columns], self.pad_id)
        no_repeats = tf.zeros([rows, loop_periods(self.parameters, steps)], tf.int32)
        words = self.constraints.forced
        return Progress(
            step=columns,
            tokens=tf.concat([tokens, unwritten], axis=1),
            log_probabilities=tf.zeros([rows, steps]),
            token_count=self.paused.lengths,
            finish=tf.fill([rows], stopping.RUNNING),
            forcing=forcing.resume(words, tokens, self.paused.word, self.paused.place),
            repeats=stopping.recount_repeats(no_repeats, tokens),
            text=self._first_text(),
        )

    def advance(self, progress: Progress, logits: tf.Tensor) -> Progress:
        """Appends one token to every running row, given the logits `[B, V]` float32 of its next."""
        running = tf.equal(progress.finish, stopping.RUNNING)
        chosen, forced = self._choose(progress, logits, running)
        written, finish = self.append(
            progress,
            chosen,
            log_probability(logits, chosen),
            running=running,
            forced=forced,
        )
        pauses = tf.equal(finish, stopping.RUNNING) & (written.step >= self.pause)
        finish = tf.where(pauses, stopping.PAUSED, finish)
        # A row that has paused is reported as it was then.
        forced_words = written.forcing._replace(
            word=tf.where(running, written.forcing.word, progress.forcing.word),
            place=tf.where(running, written.forcing.place, progress.forcing.place),
        )
        return written._replace(
            token_count=progress.token_count + tf.cast(running, tf.int32),
            finish=tf.where(running, finish, progress.finish),
            forcing=forced_words,
        )

    def decoded(self, progress: Progress) -> Decoded:
        """The result of the search."""
        texts = progress.text
        if self.detokenize is not None:
            stopped = tf.equal(progress.finish, stopping.STOP)
            texts = tf.where(stopped, progress.text, self.detokenize(progress.tokens))
        score = tf.reduce_sum(tf.cast(progress.log_probabilities, tf.float64), axis=-1)
        place = progress.forcing.place
        # The number of a word depends on the words of other rows if none is being written.
        word = tf.where(place > 0, progress.forcing.word, 0)
        return Decoded(
            tokens=progress.tokens,
            token_count=progress.token_count,
            log_probabilities=progress.log_probabilities,
            score=tf.saturate_cast(score, tf.float32),
            finish_reason=tf.gather(tf.constant(stopping.REASONS), progress.finish),
            texts=texts,
            first=self.paused.first,
            word=word,
            place=place,
        )

    def _choose(
        self, progress: Progress, logits: tf.Tensor, running: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The next token of each row, and `[B]` bool whether it is one of a forced word's."""
        parameters = neutral_where(~running, self.parameters)
        adjusted = adjust(
            logits,
            parameters,
            self.constraints,
            self.history(progress),
            eos_id=self.eos_id,
            banned_ids=self.banned_ids,
            replaces_end=True,
        )
        chosen = pick(adjusted, self.draws[:, progress.step], parameters)
        possible = tf.reduce_max(adjusted, axis=-1) > -float("inf")
        chosen = tf.where(possible, chosen, self.eos_id)
        words = self.constraints.forced
        left = self.parameters.max_new_tokens - progress.step

        def force() -> tuple[tf.Tensor, tf.Tensor]:
            early = tf.equal(chosen, self.eos_id) & forcing.missing(progress.forcing)
            due = forcing.is_due(progress.forcing, words, left)
            forced = tf.where(early, forcing.next_token(progress.forcing, words), chosen)
            return forced, early | due

        def leave() -> tuple[tf.Tensor, tf.Tensor]:
            return chosen, tf.zeros_like(running)

        return tf.cond(tf.reduce_any(words.lengths > 0), force, leave)

    def _first_text(self) -> tf.Tensor:
        """The texts of the earlier tokens in rows that have stop strings, `[B]` string."""
        nothing = tf.fill(tf.shape(self.pause), "")
        if self.detokenize is None:
            return nothing
        detokenize = self.detokenize
        has_stops = tf.not_equal(self.parameters.stop, "")

        def make() -> tf.Tensor:
            return tf.where(has_stops, detokenize(self.paused.tokens), "")

        return tf.cond(tf.reduce_any(has_stops), make, lambda: nothing)


def _draws(parameters: Parameters, steps: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """The uniforms of each row and column, a row's from `first` on; zeros if no row samples.

    Args:
      parameters: of the rows.
      steps: scalar int32, number of columns.
      first: `[B]` int32.

    Returns:
      `[B, N]` float64.
    """

    def make() -> tf.Tensor:
        at = tf.maximum(tf.range(steps) - first[:, tf.newaxis], 0)
        return tf.gather(uniforms(parameters.seed, steps), at, batch_dims=1)

    def skip() -> tf.Tensor:
        return tf.zeros([tf.shape(parameters.seed)[0], steps], tf.float64)

    return tf.cond(tf.reduce_any(parameters.temperature > 0.0), make, skip)


def _moved_prefix(prefix: tf.Tensor, first: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Each row's prefix moved to the right by its `first` columns.

    Args:
      prefix: `[B, Q]` int32.
      first: `[B]` int32.
      columns: scalar int32, `C`.

    Returns:
      `[B, C + Q]` int32, or `[B, 0]` if no row has a prefix.
    """
    length = tf.shape(prefix)[1]
    width = tf.where(length > 0, columns + length, 0)
    at = tf.range(width) - first[:, tf.newaxis]
    at = tf.where((at >= 0) & (at < length), at, length)
    padded = tf.pad(prefix, [[0, 0], [0, 1]], constant_values=-1)
    return tf.gather(padded, at, batch_dims=1)
