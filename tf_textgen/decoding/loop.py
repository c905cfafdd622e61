"""The decoding loop: a model's `step` and a way of choosing, until every row has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_textgen.decoding import stopping
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.parameters import Parameters, neutral_where
from tf_textgen.decoding.sampling import log_probability, pick, uniforms
from tf_textgen.decoding.state import Progress, add_seen, initial_progress, tokens_seen, write_column

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]
Advance = Callable[[Progress, tf.Tensor], Progress]
Detokenize = Callable[[tf.Tensor], tf.Tensor]


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
    logits = tf.cast(logits, tf.float32)
    rows, vocabulary_size = tf.shape(logits)[0], logits.shape[-1]
    limit = tf.clip_by_value(parameters.max_new_tokens, 1, max_new_tokens)
    steps = tf.maximum(tf.reduce_max(limit), 1)
    draws = tf.cond(
        tf.reduce_any(parameters.temperature > 0.0),
        lambda: uniforms(parameters.seed, steps),
        lambda: tf.zeros([rows, steps], tf.float64),
    )
    penalized = tf.reduce_any(parameters.repetition_penalty != 1.0)
    seen = tf.cond(
        penalized,
        lambda: tokens_seen(prompt_tokens, prompt_lengths, vocabulary_size),
        lambda: tf.zeros([rows, vocabulary_size], tf.bool),
    )
    any_stops = tf.reduce_any(parameters.stop != "")
    stops = stopping.parse_stops(parameters.stop)

    def advance(progress: Progress, logits: tf.Tensor) -> Progress:
        """Appends one token to every running row."""
        logits = tf.cast(logits, tf.float32)
        running = progress.finish == stopping.RUNNING
        asked = neutral_where(~running, parameters)
        adjusted = adjust(logits, asked, seen=progress.seen, step=progress.step, eos_id=eos_id, banned_ids=banned_ids)
        chosen = pick(adjusted, draws[:, progress.step], asked)
        chosen = tf.where(tf.math.is_finite(tf.reduce_max(adjusted, axis=-1)), chosen, eos_id)
        tokens = write_column(progress.tokens, progress.step, tf.where(running, chosen, pad_id))
        text, stopped = progress.text, tf.zeros_like(running)
        if detokenize is not None:
            text, stopped = tf.cond(
                any_stops,
                lambda: stopping.cut(progress.text, detokenize(tokens[:, : progress.step + 1]), stops),
                lambda: (text, stopped),
            )
            text, stopped = tf.where(running, text, progress.text), running & stopped
        finish = tf.where(progress.step + 1 >= limit, stopping.LENGTH, stopping.RUNNING)
        finish = tf.where(chosen == eos_id, stopping.EOS, finish)
        finish = tf.where(stopped, stopping.STOP, finish)
        return Progress(
            step=progress.step + 1,
            tokens=tokens,
            log_probabilities=write_column(
                progress.log_probabilities, progress.step, tf.where(running, log_probability(logits, chosen), 0.0)
            ),
            token_count=progress.token_count + tf.cast(running, tf.int32),
            finish=tf.where(running, finish, progress.finish),
            seen=tf.cond(penalized, lambda: add_seen(progress.seen, chosen), lambda: progress.seen),
            text=text,
        )

    progress = advance(initial_progress(rows, steps, pad_id=pad_id, seen=seen), logits)
    return _decoded(run(advance, progress, state, step), detokenize)


def run(advance: Advance, progress: Progress, state: Any, step: Step) -> Progress:
    """Steps the model and advances the search until every row has ended."""

    def running(progress: Progress, state: Any) -> tf.Tensor:
        del state
        return tf.reduce_any(progress.finish == stopping.RUNNING)

    def body(progress: Progress, state: Any) -> tuple[Progress, Any]:
        logits, new_state = step(progress.tokens[:, progress.step - 1], state)
        new_state = tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), new_state, state)
        return advance(progress, logits), new_state

    progress, _ = tf.while_loop(running, body, (progress, state))
    return progress


def _decoded(progress: Progress, detokenize: Detokenize | None) -> Decoded:
    texts = progress.text
    if detokenize is not None:
        texts = tf.where(progress.finish == stopping.STOP, progress.text, detokenize(progress.tokens))
    score = tf.reduce_sum(tf.cast(progress.log_probabilities, tf.float64), axis=-1)
    return Decoded(
        tokens=progress.tokens,
        token_count=progress.token_count,
        log_probabilities=progress.log_probabilities,
        score=tf.cast(score, tf.float32),
        finish_reason=tf.gather(tf.constant(stopping.REASONS), progress.finish),
        texts=texts,
    )
