"""The decoding loop: a model's `step` and a way of choosing, until every row has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.constraints import Constraints, no_constraints
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.parameters import Parameters, neutral_where
from tf_textgen.decoding.sampling import log_probability, pick, uniforms
from tf_textgen.decoding.state import History, Progress, initial_progress, write_column

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]
Rows = tuple[Parameters, Constraints, tf.Tensor, tf.Tensor]  # with the prompts' tokens and lengths
Detokenize = Callable[[tf.Tensor], tf.Tensor]


class Running(Protocol):
    """What `run` reads of a search's progress."""

    @property
    def step(self) -> tf.Tensor: ...  # [] int32

    @property
    def tokens(self) -> tf.Tensor: ...  # [R, N] int32, R rows of the model

    @property
    def finish(self) -> tf.Tensor: ...  # [B] int32, RUNNING where the search goes on


RunningT = TypeVar("RunningT", bound=Running)


class Written(Running, Protocol):
    """What `Search` reads and writes of a search's progress, as in `state.Progress`."""

    @property
    def log_probabilities(self) -> tf.Tensor: ...

    @property
    def forcing(self) -> forcing.Forcing: ...

    @property
    def repeats(self) -> tf.Tensor: ...

    @property
    def text(self) -> tf.Tensor: ...

    @property
    def _replace(self) -> Any: ...


WrittenT = TypeVar("WrittenT", bound=Written)


SearchT = TypeVar("SearchT", bound="Search")


class Decoded(NamedTuple):
    """Continuations; `N` is the batch's largest number of new tokens.

    The end token, and the token that completed a stop string, belong to `tokens`, `token_count` and `score`. The text
    ends before the stop string.
    """

    tokens: tf.Tensor  # [B, N] int32, pad beyond a row's end
    token_count: tf.Tensor  # [B] int32
    log_probabilities: (
        tf.Tensor
    )  # [B, N] float32, of the model's own distribution, before any processor; 0 beyond the end
    score: tf.Tensor  # [B] float32, sum of log_probabilities
    finish_reason: tf.Tensor  # [B] string: "eos", "length", "stop" or "loop"
    texts: tf.Tensor  # [B] string, bytes as `detokenize` gave them; empty without it


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
) -> Decoded:
    """Continues each row by sampling, or greedily where its temperature is 0.

    A row's result depends on its own prompt and parameters alone. If no token is left (all logits -inf, or NaN), the
    row ends with the end token, or goes on with a forced word that it misses. Its score is finite where the model's
    own logits are.

    Args:
      logits: `[B, V]` float32 of each prompt's last position; `V` is static.
      state: nest of `[B, ...]` tensors as `step` takes it.
      step: `(tokens [B] int32, state) -> (logits [B, V], state)`; rows that have ended get pad.
      parameters: of the rows, within the bounds that `parameters.sanitize` checks.
      prompt_tokens: `[B, P]` int32, left-padded.
      prompt_lengths: `[B]` int32.
      eos_id: the end token.
      max_new_tokens: bound of `parameters.max_new_tokens`.
      pad_id: stands in `tokens` beyond a row's end.
      banned_ids: never generated.
      constraints: the words of `parameters` as tokens (`constraints.parse`); None leaves them out of account.
      detokenize: `[B, N]` int32 -> `[B]` string, dropping pad and the end token. Without it there are no texts and stop
        strings are ignored.
    """
    rows = bounded_rows(parameters, constraints, prompt_tokens, prompt_lengths, max_new_tokens)
    ids = (eos_id, pad_id, tuple(banned_ids))
    search = make_search(SingleSearch, rows, ids, detokenize, draws=draws(rows[0], steps_of(rows[0])))
    return decoded(run(search.advance, search.begin(), logits, state, step), detokenize)


def bounded_rows(
    parameters: Parameters,
    constraints: Constraints | None,
    prompt_tokens: tf.Tensor,
    prompt_lengths: tf.Tensor,
    max_new_tokens: int,
) -> Rows:
    """What `decode` and `beam_search` know of each row, within their bounds."""
    limit = tf.clip_by_value(parameters.max_new_tokens, 1, max_new_tokens)
    constraints = no_constraints(tf.shape(limit)[0]) if constraints is None else constraints
    return parameters._replace(max_new_tokens=limit), constraints, prompt_tokens, prompt_lengths


def steps_of(parameters: Parameters) -> tf.Tensor:
    """How many tokens the longest row may have, scalar int32."""
    return tf.maximum(tf.reduce_max(parameters.max_new_tokens), 1)  # the maximum of no rows is negative


def loop_periods(parameters: Parameters, steps: tf.Tensor) -> tf.Tensor:
    """How long the blocks of `steps` tokens are in which loops are looked for; 0 where no row wants it."""
    asked = tf.reduce_any(parameters.loop_repeats > 0)
    return tf.where(asked, steps // 2, 0)  # a longer block comes only once


def make_search(
    kind: Callable[..., SearchT],
    rows: Rows,
    ids: tuple[int, int, tuple[int, ...]],
    detokenize: Detokenize | None,
    **own: Any,
) -> SearchT:
    """A search of one kind.

    Args:
      kind: the class.
      rows: as `bounded_rows` gives them.
      ids: the end token, what stands beyond a row's end, and what is never generated.
      detokenize: as `decode` takes it.
      own: the fields that `kind` alone has.
    """
    parameters, constraints, prompt_tokens, prompt_lengths = rows
    eos_id, pad_id, banned_ids = ids
    return kind(
        parameters=parameters,
        constraints=constraints,
        prompt_tokens=prompt_tokens,
        prompt_lengths=prompt_lengths,
        stops=stopping.parse_stops(parameters.stop),
        eos_id=eos_id,
        pad_id=pad_id,
        banned_ids=banned_ids,
        detokenize=detokenize,
        **own,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What all ways of searching share: the wishes of the rows, and what follows from one more token.

    A beam has several rows for each row of the batch; `B` is their number here.
    """

    parameters: Parameters
    constraints: Constraints
    prompt_tokens: tf.Tensor  # [B, P] int32, left-padded
    prompt_lengths: tf.Tensor  # [B] int32
    stops: stopping.Stops
    eos_id: int
    pad_id: int
    banned_ids: tuple[int, ...]
    detokenize: Detokenize | None

    def history(self, progress: Written) -> History:
        """What the logits processors look back at."""
        return History(self.prompt_tokens, self.prompt_lengths, progress.tokens, progress.step, progress.forcing)

    def append(
        self,
        progress: WrittenT,
        chosen: tf.Tensor,
        log_probabilities: tf.Tensor,
        *,
        running: tf.Tensor,
        forced: tf.Tensor,
    ) -> tuple[WrittenT, tf.Tensor]:
        """Writes one token to every running row.

        Args:
          progress: before it.
          chosen: `[B]` int32.
          log_probabilities: `[B]` float32, of `chosen`.
          running: `[B]` bool.
          forced: `[B]` bool, rows in which `chosen` is a forced word's.

        Returns:
          The progress, and why each row ends with this token: `[B]` int32, an index into `stopping.REASONS`, of no
          meaning in rows that do not run.
        """
        tokens = write_column(progress.tokens, progress.step, tf.where(running, chosen, self.pad_id))
        log_probabilities = tf.where(running, log_probabilities, 0.0)
        text, stopped = self._find_stops(progress, tokens, running)
        repeats, looping = self._find_loops(progress, tokens)
        finish = tf.where(progress.step + 1 >= self.parameters.max_new_tokens, stopping.LENGTH, stopping.RUNNING)
        finish = tf.where(looping, stopping.LOOP, finish)
        finish = tf.where(tf.equal(chosen, self.eos_id), stopping.EOS, finish)
        finish = tf.where(stopped, stopping.STOP, finish)
        written = progress._replace(
            step=progress.step + 1,
            tokens=tokens,
            log_probabilities=write_column(progress.log_probabilities, progress.step, log_probabilities),
            forcing=self._advance_forcing(progress, tokens, forced),
            repeats=repeats,
            text=text,
        )
        return written, finish

    def _advance_forcing(self, progress: Written, tokens: tf.Tensor, forced: tf.Tensor) -> forcing.Forcing:
        words = self.constraints.forced
        return tf.cond(
            tf.reduce_any(words.lengths > 0),
            lambda: forcing.advance(progress.forcing, words, tokens, progress.step + 1, forced),
            lambda: progress.forcing,
        )

    def _find_loops(self, progress: Written, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The counts of repeated tokens, and `[B]` bool whether a row goes round in a loop."""

        def look() -> tuple[tf.Tensor, tf.Tensor]:
            repeats = stopping.count_repeats(progress.repeats, tokens, progress.step)
            return repeats, stopping.is_loop(repeats, self.parameters.loop_repeats)

        asked = tf.shape(progress.repeats)[1] > 0
        return tf.cond(asked, look, lambda: (progress.repeats, tf.zeros(tf.shape(tokens)[:1], tf.bool)))

    def _find_stops(self, progress: Written, tokens: tf.Tensor, running: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The rows' texts without the stop string, and `[B]` bool whether one was found now."""
        nothing = progress.text, tf.zeros_like(running)
        if self.detokenize is None:
            return nothing
        detokenize, wanted = self.detokenize, running & tf.not_equal(self.parameters.stop, "")

        def look() -> tuple[tf.Tensor, tf.Tensor]:
            text, found = stopping.cut(progress.text, detokenize(tokens[:, : progress.step + 1]), self.stops)
            return tf.where(wanted, text, progress.text), wanted & found

        return tf.cond(tf.reduce_any(wanted), look, lambda: nothing)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleSearch(Search):
    """Searching with one hypothesis a row: what is picked is kept."""

    draws: tf.Tensor  # [B, N] float64, uniforms

    def begin(self) -> Progress:
        """No tokens yet."""
        steps = steps_of(self.parameters)
        return initial_progress(
            tf.shape(self.parameters.max_new_tokens)[0],
            steps,
            pad_id=self.pad_id,
            forcing=forcing.begin(self.constraints.forced),
            periods=loop_periods(self.parameters, steps),
        )

    def advance(self, progress: Progress, logits: tf.Tensor) -> Progress:
        """Appends one token to every running row, given the logits `[B, V]` of its next."""
        logits = tf.cast(logits, tf.float32)
        running = tf.equal(progress.finish, stopping.RUNNING)
        chosen, forced = self._choose(progress, logits, running)
        log_probabilities = log_probability(logits, chosen)
        written, finish = self.append(progress, chosen, log_probabilities, running=running, forced=forced)
        return written._replace(
            token_count=progress.token_count + tf.cast(running, tf.int32),
            finish=tf.where(running, finish, progress.finish),
        )

    def _choose(self, progress: Progress, logits: tf.Tensor, running: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The next token of each row, and `[B]` bool whether it is one of a forced word's."""
        asked, words = neutral_where(~running, self.parameters), self.constraints.forced
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
            due = forcing.is_due(progress.forcing, words, self.parameters.max_new_tokens - progress.step)
            return tf.where(early, forcing.next_token(progress.forcing, words), chosen), early | due

        return tf.cond(tf.reduce_any(words.lengths > 0), force, lambda: (chosen, tf.zeros_like(running)))


def draws(parameters: Parameters, steps: tf.Tensor) -> tf.Tensor:
    """The uniforms of each row and step, `[B, N]` float64; not made where no row samples."""
    return tf.cond(
        tf.reduce_any(parameters.temperature > 0.0),
        lambda: uniforms(parameters.seed, steps),
        lambda: tf.zeros([tf.shape(parameters.seed)[0], steps], tf.float64),
    )


def run(
    advance: Callable[[RunningT, tf.Tensor], RunningT],
    progress: RunningT,
    logits: tf.Tensor,
    state: Any,
    step: Step,
    *,
    rearrange: Callable[[RunningT, Any], Any] = lambda progress, state: state,
) -> RunningT:
    """Advances the search and steps the model until every row has ended.

    Args:
      advance: (progress, logits of the next tokens) -> progress.
      progress: before the first token.
      logits: of the first token.
      state: of the model, before that token.
      step: of the model.
      rearrange: (progress, state) -> the state with its rows where the search has moved them.
    """
    if not tf.executing_eagerly():  # there nothing is traced
        advance = tf.function(advance, autograph=False)  # traced once for the first token and the loop's

    def running(progress: RunningT, state: Any) -> tf.Tensor:
        del state
        return tf.reduce_any(tf.equal(progress.finish, stopping.RUNNING))

    def body(progress: RunningT, state: Any) -> tuple[RunningT, Any]:
        arranged = rearrange(progress, state)
        logits, new_state = step(progress.tokens[:, progress.step - 1], arranged)
        new_state = tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), new_state, state)
        return advance(progress, logits), new_state

    progress, _ = tf.while_loop(running, body, (advance(progress, logits), state))
    return progress


def decoded(progress: Progress, detokenize: Detokenize | None) -> Decoded:
    """What a search with one hypothesis a row has found."""
    texts = progress.text
    if detokenize is not None:
        texts = tf.where(tf.equal(progress.finish, stopping.STOP), progress.text, detokenize(progress.tokens))
    score = tf.reduce_sum(tf.cast(progress.log_probabilities, tf.float64), axis=-1)
    return Decoded(
        tokens=progress.tokens,
        token_count=progress.token_count,
        log_probabilities=progress.log_probabilities,
        score=tf.saturate_cast(score, tf.float32),
        finish_reason=tf.gather(tf.constant(stopping.REASONS), progress.finish),
        texts=texts,
    )
