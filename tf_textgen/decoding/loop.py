"""The decoding loop: a model's `step` and a way of choosing, until every row has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import tensorflow as tf

from tf_textgen.decoding import stopping
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.parameters import Parameters, neutral_where
from tf_textgen.decoding.sampling import log_probability, pick, uniforms
from tf_textgen.decoding.state import Progress, add_seen, initial_progress, tokens_seen, write_column

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]
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
    finish_reason: tf.Tensor  # [B] string: "eos", "length" or "stop"
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
    detokenize: Detokenize | None = None,
) -> Decoded:
    """Continues each row by sampling, or greedily where its temperature is 0.

    A row's result depends on its own prompt and parameters alone. If no token is left (all logits -inf, or NaN), the
    row ends with the end token; its score is then -inf or NaN.

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
      detokenize: `[B, N]` int32 -> `[B]` string, dropping pad and the end token. Without it there are no texts and stop
        strings are ignored.
    """
    rows = tf.shape(logits)[0]
    limit = tf.clip_by_value(parameters.max_new_tokens, 1, max_new_tokens)
    steps = tf.maximum(tf.reduce_max(limit), 1)  # the maximum of no rows is negative
    seen = prompt_tokens_seen(parameters, prompt_tokens, prompt_lengths, logits.shape[-1])
    draws = tf.cond(
        tf.reduce_any(parameters.temperature > 0.0),
        lambda: uniforms(parameters.seed, steps),
        lambda: tf.zeros([rows, steps], tf.float64),
    )
    search = SingleSearch(
        parameters=parameters._replace(max_new_tokens=limit),
        draws=draws,
        stops=stopping.parse_stops(parameters.stop),
        eos_id=eos_id,
        pad_id=pad_id,
        banned_ids=tuple(banned_ids),
        detokenize=detokenize,
    )
    progress = search.advance(initial_progress(rows, steps, pad_id=pad_id, seen=seen), logits)
    return _decoded(run(search.advance, progress, state, step), detokenize)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleSearch:
    """Searching with one hypothesis a row: what is picked is kept."""

    parameters: Parameters
    draws: tf.Tensor  # [B, N] float64, uniforms
    stops: stopping.Stops
    eos_id: int
    pad_id: int
    banned_ids: tuple[int, ...]
    detokenize: Detokenize | None

    def advance(self, progress: Progress, logits: tf.Tensor) -> Progress:
        """Appends one token to every running row, given the logits `[B, V]` of its next."""
        logits = tf.cast(logits, tf.float32)
        running = tf.equal(progress.finish, stopping.RUNNING)
        chosen = self._choose(progress, logits, running)
        log_probabilities = tf.where(running, log_probability(logits, chosen), 0.0)
        tokens = write_column(progress.tokens, progress.step, tf.where(running, chosen, self.pad_id))
        text, stopped = find_stops(
            progress.text,
            tokens[:, : progress.step + 1],
            wanted=running & tf.not_equal(self.parameters.stop, ""),
            stops=self.stops,
            detokenize=self.detokenize,
        )
        finish = reason_to_finish(chosen, progress.step + 1, self.parameters, stopped, eos_id=self.eos_id)
        return Progress(
            step=progress.step + 1,
            tokens=tokens,
            log_probabilities=write_column(progress.log_probabilities, progress.step, log_probabilities),
            token_count=progress.token_count + tf.cast(running, tf.int32),
            finish=tf.where(running, finish, progress.finish),
            seen=tf.cond(
                tf.reduce_any(tf.not_equal(self.parameters.repetition_penalty, 1.0)),
                lambda: add_seen(progress.seen, chosen),
                lambda: progress.seen,
            ),
            text=text,
        )

    def _choose(self, progress: Progress, logits: tf.Tensor, running: tf.Tensor) -> tf.Tensor:
        asked = neutral_where(~running, self.parameters)
        adjusted = adjust(
            logits,
            asked,
            seen=progress.seen,
            step=progress.step,
            eos_id=self.eos_id,
            banned_ids=self.banned_ids,
        )
        chosen = pick(adjusted, self.draws[:, progress.step], asked)
        possible = tf.reduce_max(adjusted, axis=-1) > -float("inf")
        return tf.where(possible, chosen, self.eos_id)


def prompt_tokens_seen(
    parameters: Parameters, prompt_tokens: tf.Tensor, prompt_lengths: tf.Tensor, vocabulary_size: int
) -> tf.Tensor:
    """Which ids stand in the prompts, `[B, V]` bool; nothing where no row has a penalty for it."""
    return tf.cond(
        tf.reduce_any(tf.not_equal(parameters.repetition_penalty, 1.0)),
        lambda: tokens_seen(prompt_tokens, prompt_lengths, vocabulary_size),
        lambda: tf.zeros([tf.shape(prompt_tokens)[0], vocabulary_size], tf.bool),
    )


def find_stops(
    before: tf.Tensor,
    tokens: tf.Tensor,
    *,
    wanted: tf.Tensor,
    stops: stopping.Stops,
    detokenize: Detokenize | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks for stop strings in the text of `tokens`.

    Args:
      before: `[B]` string, the texts without the last token.
      tokens: `[B, N]` int32.
      wanted: `[B]` bool, the rows that have stop strings and run.
      stops: of the rows.
      detokenize: as `decode` takes it.

    Returns:
      The texts without the stop string, `[B]` string, and whether one was found, `[B]` bool. Texts of rows without stop
      strings stay as they were.
    """
    if detokenize is None:
        return before, tf.zeros_like(wanted)

    def look() -> tuple[tf.Tensor, tf.Tensor]:
        text, found = stopping.cut(before, detokenize(tokens), stops)
        return tf.where(wanted, text, before), wanted & found

    return tf.cond(tf.reduce_any(wanted), look, lambda: (before, tf.zeros_like(wanted)))


def reason_to_finish(
    chosen: tf.Tensor, count: tf.Tensor, parameters: Parameters, stopped: tf.Tensor, *, eos_id: int
) -> tf.Tensor:
    """Why a row ends with its token `chosen`, the `count`-th: `[B]` int32, an index into `stopping.REASONS`."""
    finish = tf.where(count >= parameters.max_new_tokens, stopping.LENGTH, stopping.RUNNING)
    finish = tf.where(tf.equal(chosen, eos_id), stopping.EOS, finish)
    return tf.where(stopped, stopping.STOP, finish)


def run(
    advance: Callable[[RunningT, tf.Tensor], RunningT],
    progress: RunningT,
    state: Any,
    step: Step,
    *,
    rearrange: Callable[[RunningT, Any], Any] = lambda progress, state: state,
) -> RunningT:
    """Steps the model and advances the search until every row has ended.

    Args:
      advance: (progress, logits of the next tokens) -> progress.
      progress: after the first token.
      state: of the model, before that token.
      step: of the model.
      rearrange: (progress, state) -> the state with its rows where the search has moved them.
    """

    def running(progress: RunningT, state: Any) -> tf.Tensor:
        del state
        return tf.reduce_any(tf.equal(progress.finish, stopping.RUNNING))

    def body(progress: RunningT, state: Any) -> tuple[RunningT, Any]:
        arranged = rearrange(progress, state)
        logits, new_state = step(progress.tokens[:, progress.step - 1], arranged)
        new_state = tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), new_state, state)
        return advance(progress, logits), new_state

    progress, _ = tf.while_loop(running, body, (progress, state))
    return progress


def _decoded(progress: Progress, detokenize: Detokenize | None) -> Decoded:
    texts = progress.text
    if detokenize is not None:
        texts = tf.where(tf.equal(progress.finish, stopping.STOP), progress.text, detokenize(progress.tokens))
    score = tf.reduce_sum(tf.cast(progress.log_probabilities, tf.float64), axis=-1)
    return Decoded(
        tokens=progress.tokens,
        token_count=progress.token_count,
        log_probabilities=progress.log_probabilities,
        score=tf.cast(score, tf.float32),
        finish_reason=tf.gather(tf.constant(stopping.REASONS), progress.finish),
        texts=texts,
    )
