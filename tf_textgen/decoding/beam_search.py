"""Beam search: the most probable continuations, by keeping the W best hypotheses of each row at
every step.

A step extends every running hypothesis of a row by every token and keeps the W best of these `W *
V` extensions. Those that have ended (end token, length, stop string, loop) leave the beam for the
row's n-best, if nothing extends or moves them, and are ranked there as complete texts, one that
loops among them; the others continue, so that a beam of 1 is greedy decoding and a beam that holds
everything is an exhaustive search.

The rank is the sum of `log_softmax` of the logits as the processors left them. Tokens that a
processor takes away or weakens keep their share of the normalizer, as in Hugging Face transformers:
a ban makes nothing else more probable. Hence no step adds to a sum (`_scores`), which the early
stop relies on.

Reference: Sutskever et al. (2014), Sequence to sequence learning with neural networks, section 3.2.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.length_penalty import LengthPenalty, divisor
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.loop import Step, run
from tf_textgen.decoding.parameters import neutral_where
from tf_textgen.decoding.sampling import log_normalizer, normalize
from tf_textgen.decoding.search import (
    Detokenize,
    Search,
    SearchInputs,
    loop_periods,
    make_search,
)

_NOWHERE = np.float64("-inf")
# The score of a hypothesis that no token can extend: less than all others, but finite. It is
# reported as the least float32.
_LAST = np.float64(-1e300)


class Hypotheses(NamedTuple):
    """The n-best of each row, best first; `N` is the batch's largest number of new tokens.

    Tokens, count, score and text are as in `single_search.Decoded`. A row that has fewer than n
    hypotheses leaves the last places empty: no tokens, no text, no finish reason.

    Attributes:
      tokens: `[B, n, N]` int32, pad beyond a hypothesis' end.
      token_count: `[B, n]` int32.
      log_probabilities: `[B, n, N]` float32, of the model itself; 0 beyond the end.
      score: `[B, n]` float32, sum of `log_probabilities`.
      normalized_score: `[B, n]` float32, the ranked sum, divided by the length penalty.
      finish_reason: `[B, n]` string: "eos", "length", "stop", "loop"; "" in an empty place.
      texts: `[B, n]` string, bytes as `detokenize` gives them; empty without it.
    """

    tokens: tf.Tensor
    token_count: tf.Tensor
    log_probabilities: tf.Tensor
    score: tf.Tensor
    normalized_score: tf.Tensor
    finish_reason: tf.Tensor
    texts: tf.Tensor


class Ended(NamedTuple):
    """The best ended hypotheses of each row so far, best first.

    Attributes:
      tokens: `[B, n, N]` int32.
      log_probabilities: `[B, n, N]` float32.
      token_count: `[B, n]` int32.
      normalized: `[B, n]` float64, -inf in an empty place.
      finish: `[B, n]` int32, index into `stopping.REASONS`.
      text: `[B, n]` string.
    """

    tokens: tf.Tensor
    log_probabilities: tf.Tensor
    token_count: tf.Tensor
    normalized: tf.Tensor
    finish: tf.Tensor
    text: tf.Tensor


class BeamProgress(NamedTuple):
    """The running hypotheses, W rows for each row of the batch, and the row's n-best.

    Attributes:
      step: scalar int32, number of tokens generated so far.
      tokens: `[B*W, N]` int32.
      log_probabilities: `[B*W, N]` float32.
      sums: `[B, W]` float64, the rank; -inf if no hypothesis runs.
      parents: `[B*W]` int32, the row of `tokens` that each hypothesis extended last.
      forcing: of `[B*W]` rows, as in `state.Progress`.
      repeats: `[B*W, R]` int32, as in `state.Progress`.
      text: `[B*W]` string, kept if stop strings are looked for.
      best: of `[B]` rows.
      finish: `[B]` int32, RUNNING until the n-best are final, then the best one's reason.
    """

    step: tf.Tensor
    tokens: tf.Tensor
    log_probabilities: tf.Tensor
    sums: tf.Tensor
    parents: tf.Tensor
    forcing: forcing.Forcing
    repeats: tf.Tensor
    text: tf.Tensor
    best: Ended
    finish: tf.Tensor


class _Extensions(NamedTuple):
    """The W best extensions of each row's hypotheses, best first.

    Attributes:
      parents: `[B*W]` int32.
      tokens: `[B*W]` int32.
      log_probabilities: `[B*W]` float32.
      sums: `[B, W]` float64, -inf if there is none.
      forced: `[B*W]` bool, whether the token is one of a forced word's.
    """

    parents: tf.Tensor
    tokens: tf.Tensor
    log_probabilities: tf.Tensor
    sums: tf.Tensor
    forced: tf.Tensor


def beam_search(
    logits: tf.Tensor,
    state: Any,
    step: Step,
    inputs: SearchInputs,
    length_penalty: LengthPenalty,
    *,
    width: int,
    num_best: int,
) -> Hypotheses:
    """Continues each row by its `num_best` best hypotheses.

    A row's result depends only on its own prompt and parameters. Equal scores: the hypothesis that
    ended earlier, then the one that extends the better parent, then the lower token.

    Args:
      logits: `[B, V]` float32 of each prompt's last position; `V` is static.
      state: nest of `[B, ...]` tensors, a NamedTuple with `per_step` (its rows change places with
        the hypotheses) and `per_source` (equal for all hypotheses of a row).
      step: as `single_search.decode` takes it.
      inputs: of the rows; parameters of sampling are not read. A hypothesis that misses a forced
        word cannot end but continues until it is written.
      length_penalty: of the rows.
      width: `W`, hypotheses of a row.
      num_best: n, at most `width`.
    """
    inputs = inputs.bounded()
    logits, state = tf.nest.map_structure(lambda x: tf.repeat(x, width, axis=0), (logits, state))
    search = make_search(
        BeamSearch,
        inputs.repeated(width),
        width=width,
        num_best=num_best,
        limit=inputs.parameters.max_new_tokens,
        length_penalty=length_penalty,
    )
    start = search.start()
    progress = run(search.advance, start, logits, state, step, rearrange=follow_parents)
    return _hypotheses(progress.best, inputs.detokenize)


def follow_parents(progress: BeamProgress, state: Any) -> Any:
    """Gives every hypothesis the state of the one that it extends."""
    per_step = tf.nest.map_structure(lambda x: tf.gather(x, progress.parents), state.per_step)
    return state._replace(per_step=per_step)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSearch(Search):
    """Searching with W hypotheses a row; all that `Search` has is of `[B*W]` rows.

    Attributes:
      width: `W`.
      num_best: n.
      limit: `[B]` int32, largest number of new tokens.
      length_penalty: of `[B]` rows.
    """

    width: int
    num_best: int
    limit: tf.Tensor
    length_penalty: LengthPenalty

    def start(self) -> BeamProgress:
        """One hypothesis without tokens in each row."""
        rows = tf.shape(self.limit)[0]
        # The maximum of no rows is negative.
        steps = tf.maximum(tf.reduce_max(self.limit), 1)
        hypotheses = rows * self.width
        one = tf.one_hot(0, self.width, on_value=0.0, off_value=_NOWHERE, dtype=tf.float64)
        return BeamProgress(
            step=tf.constant(0),
            tokens=tf.fill([hypotheses, steps], self.pad_id),
            log_probabilities=tf.zeros([hypotheses, steps]),
            sums=tf.tile(one[tf.newaxis], [rows, 1]),
            parents=tf.range(hypotheses),
            forcing=forcing.begin(self.constraints.forced),
            repeats=tf.zeros([hypotheses, loop_periods(self.parameters, steps)], tf.int32),
            text=tf.fill([hypotheses], ""),
            best=self._no_best(rows, steps),
            finish=tf.fill([rows], stopping.RUNNING),
        )

    def _no_best(self, rows: tf.Tensor, steps: tf.Tensor) -> Ended:
        places = [rows, self.num_best]
        return Ended(
            tokens=tf.fill([*places, steps], self.pad_id),
            log_probabilities=tf.zeros([*places, steps]),
            token_count=tf.zeros(places, tf.int32),
            normalized=tf.fill(places, _NOWHERE),
            finish=tf.fill(places, stopping.RUNNING),
            text=tf.fill(places, ""),
        )

    def advance(self, progress: BeamProgress, logits: tf.Tensor) -> BeamProgress:
        """Extends the hypotheses of every running row, given the logits `[B*W, V]` float32 of their
        next tokens.
        """
        extensions = self._extend(progress, logits)
        running = self._by_hypothesis(extensions.sums > _NOWHERE)
        grown, finish = self.append(
            self._move(progress, extensions),
            extensions.tokens,
            extensions.log_probabilities,
            running=running,
            forced=extensions.forced,
        )
        finish = tf.where(running, finish, stopping.RUNNING)
        ended = tf.not_equal(finish, stopping.RUNNING)  # --> [B*W]
        best = tf.cond(tf.reduce_any(ended), lambda: self._merge(grown, finish), lambda: grown.best)
        sums = tf.where(self._by_row(ended), _NOWHERE, grown.sums)
        settled = self._is_settled(sums, best)
        return grown._replace(
            sums=tf.where(settled[:, tf.newaxis], _NOWHERE, sums),
            best=best,
            finish=tf.where(settled, best.finish[:, 0], stopping.RUNNING),
        )

    def _extend(self, progress: BeamProgress, logits: tf.Tensor) -> _Extensions:
        """Chooses the extensions that stay, without a sort of all `W * V`: at most W of them have
        the same parent.
        """
        running = self._by_hypothesis(progress.sums > _NOWHERE)
        adjusted = adjust(
            logits,
            neutral_where(~running, self.parameters),
            self.constraints,
            self.history(progress),
            eos_id=self.eos_id,
            banned_ids=self.banned_ids,
        )
        choices = min(self.width, logits.shape[-1])
        # --> [B*W, K], of equals the lower id first
        values, tokens = tf.math.top_k(adjusted, choices)
        normalizer = log_normalizer(logits)
        log_probabilities = normalize(tf.gather(logits, tokens, batch_dims=1), normalizer)
        scores = _scores(logits, adjusted, values, normalizer)
        due, stuck, missing = self._forced_words(progress)
        hopeless = tf.equal(values[:, 0], -float("inf"))
        first = hopeless[:, tf.newaxis] & tf.equal(tf.range(choices), 0)
        tokens = tf.where(first, stuck[:, tf.newaxis], tokens)
        scores = tf.where(first, _LAST, scores)
        sums = self._by_hypothesis(progress.sums)[:, tf.newaxis] + scores
        of_row = self.width * choices
        # --> [B, W]
        sums, at = tf.math.top_k(tf.reshape(sums, [-1, of_row]), self.width)
        row_starts = tf.range(tf.shape(at)[0]) * of_row
        at = self._by_hypothesis(at + row_starts[:, tf.newaxis])
        parents = at // choices
        log_probabilities = tf.gather(self._by_hypothesis(log_probabilities), at)
        return _Extensions(
            parents=parents,
            tokens=tf.gather(self._by_hypothesis(tokens), at),
            log_probabilities=tf.cast(log_probabilities, tf.float32),
            sums=sums,
            forced=tf.gather(due | (hopeless & missing), parents),
        )

    def _move(self, progress: BeamProgress, extensions: _Extensions) -> BeamProgress:
        """Puts the hypotheses that are extended in the places of their extensions."""
        names = ("tokens", "log_probabilities", "forcing", "repeats", "text")
        of_hypotheses = {name: getattr(progress, name) for name in names}
        moved = tf.nest.map_structure(lambda x: tf.gather(x, extensions.parents), of_hypotheses)
        return progress._replace(
            **moved,
            sums=extensions.sums,
            parents=extensions.parents,
        )

    def _forced_words(self, progress: BeamProgress) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The next tokens of forced words.

        Returns:
          `[B*W]` bool, whether the next token is one of a forced word's; `[B*W]` int32, the next
          token if no other is possible; `[B*W]` bool, whether words are missing.
        """
        words = self.constraints.forced
        state = progress.forcing
        left = self.parameters.max_new_tokens - progress.step
        no = tf.zeros(tf.shape(left), tf.bool)
        end = tf.fill(tf.shape(left), self.eos_id)

        def look() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            missing = forcing.missing(state)
            due = forcing.is_due(state, words, left)
            next_token = tf.where(missing, forcing.next_token(state, words), end)
            return due, next_token, missing

        return tf.cond(tf.reduce_any(words.lengths > 0), look, lambda: (no, end, no))

    def _merge(self, progress: BeamProgress, finish: tf.Tensor) -> Ended:
        """The n-best of those that had ended before and those that end now."""
        penalty = divisor(self.length_penalty, progress.step)
        finish = self._by_row(finish)
        is_running = tf.equal(finish, stopping.RUNNING)
        normalized = progress.sums / penalty[:, tf.newaxis]
        new = Ended(
            tokens=self._by_row(progress.tokens),
            log_probabilities=self._by_row(progress.log_probabilities),
            token_count=tf.fill(tf.shape(finish), progress.step),
            normalized=tf.where(is_running, _NOWHERE, normalized),
            finish=finish,
            text=self._by_row(progress.text),
        )
        # --> [B, n + W, ...]
        both = tf.nest.map_structure(lambda a, b: tf.concat([a, b], axis=1), progress.best, new)
        # Of equals the earlier first.
        at = tf.math.top_k(both.normalized, self.num_best).indices
        return tf.nest.map_structure(lambda x: tf.gather(x, at, batch_dims=1), both)

    def _is_settled(self, sums: tf.Tensor, best: Ended) -> tf.Tensor:
        """The rows, `[B]` bool, whose n-best no running hypothesis can change any more.

        No step adds to a sum, sums are not positive and divisors grow with the length: whatever a
        hypothesis becomes, its score is at most its sum now over the divisor of the row's limit. An
        equal score would come too late. A row without a running hypothesis is settled, and one with
        an empty place is not as long as a hypothesis runs.
        """
        bound = tf.reduce_max(sums, axis=-1) / divisor(self.length_penalty, self.limit)
        return bound <= best.normalized[:, -1]

    def _by_row(self, tensor: tf.Tensor) -> tf.Tensor:
        """`[B*W, ...]` --> `[B, W, ...]`."""
        return tf.reshape(tensor, tf.concat([[-1, self.width], tf.shape(tensor)[1:]], axis=0))

    def _by_hypothesis(self, tensor: tf.Tensor) -> tf.Tensor:
        """`[B, W]` --> `[B*W]`, or `[B*W, K]` --> `[B*W*K]`."""
        return tf.reshape(tensor, [-1])


def _scores(
    logits: tf.Tensor,
    adjusted: tf.Tensor,
    values: tf.Tensor,
    normalizer: tuple[tf.Tensor, tf.Tensor],
) -> tf.Tensor:
    """Returns the tokens' terms of the sum that is ranked, at most 0.

    Processors that weaken leave the model's own normaliser. If one strengthens, or a logit is no
    number, the larger of the two logits counts.

    Args:
      logits: `[B*W, V]` float32, the model's own.
      adjusted: `[B*W, V]` float32.
      values: `[B*W, K]` float32, some of `adjusted`.
      normalizer: of `logits`.

    Returns:
      `[B*W, K]` float64.
    """
    larger = tf.where((logits > adjusted) & (logits < float("inf")), logits, adjusted)
    own = tf.reduce_all(tf.equal(larger, logits))
    normalizer = tf.cond(own, lambda: normalizer, lambda: log_normalizer(larger))
    return tf.where(values > -float("inf"), normalize(values, normalizer), _NOWHERE)


def _hypotheses(best: Ended, detokenize: Detokenize | None) -> Hypotheses:
    texts = best.text
    if detokenize is not None:
        rows, number, steps = tf.unstack(tf.shape(best.tokens))
        whole = detokenize(tf.reshape(best.tokens, [rows * number, steps]))
        stopped = tf.equal(best.finish, stopping.STOP)
        texts = tf.where(stopped, best.text, tf.reshape(whole, [rows, number]))
    score = tf.reduce_sum(tf.cast(best.log_probabilities, tf.float64), axis=-1)
    present = tf.not_equal(best.finish, stopping.RUNNING)
    normalized = tf.where(present, best.normalized, np.float64(0.0))
    return Hypotheses(
        tokens=best.tokens,
        token_count=best.token_count,
        log_probabilities=best.log_probabilities,
        score=tf.saturate_cast(score, tf.float32),
        normalized_score=tf.saturate_cast(normalized, tf.float32),
        finish_reason=tf.gather(tf.constant(stopping.REASONS), best.finish),
        texts=texts,
    )
