"""The decoding loop, a model's `step` and a search's `advance` in turn, and what all searches
share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.constraints import Constraints, no_constraints
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.state import History, write_column

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]
Rows = tuple[Parameters, Constraints, tf.Tensor, tf.Tensor]  # with the prompts' tokens and lengths
Detokenize = Callable[[tf.Tensor], tf.Tensor]


class Running(Protocol):
    """The part of a search's progress that `run` reads."""

    @property
    def step(self) -> tf.Tensor: ...  # [] int32

    @property
    def tokens(self) -> tf.Tensor: ...  # [R, N] int32, R rows of the model

    @property
    def finish(self) -> tf.Tensor: ...  # [B] int32, RUNNING if the search continues


RunningT = TypeVar("RunningT", bound=Running)


class Written(Running, Protocol):
    """The part of a search's progress that `Search` reads and writes, as in `state.Progress`."""

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
NestT = TypeVar("NestT")


def bounded_rows(
    parameters: Parameters,
    constraints: Constraints | None,
    prompt_tokens: tf.Tensor,
    prompt_lengths: tf.Tensor,
    max_new_tokens: int,
) -> Rows:
    """The inputs of a search for each row, within their bounds."""
    limit = tf.clip_by_value(parameters.max_new_tokens, 1, max_new_tokens)
    constraints = no_constraints(tf.shape(limit)[0]) if constraints is None else constraints
    return parameters._replace(max_new_tokens=limit), constraints, prompt_tokens, prompt_lengths


def loop_periods(parameters: Parameters, steps: tf.Tensor) -> tf.Tensor:
    """How long the blocks of `steps` tokens are in which loops are looked for; 0 if no row wants
    it.
    """
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
      ids: the end token, the padding after the end of a row, and the ids that are never generated.
      detokenize: as `single_search.decode` takes it.
      own: the fields that only `kind` has.
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
    """The base of all searches: the parameters of the rows, and what follows from one more
    token.

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
        """The history that the logits processors need."""
        return History(
            self.prompt_tokens,
            self.prompt_lengths,
            progress.tokens,
            progress.step,
            progress.forcing,
        )

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
          The progress, and why each row ends with this token: `[B]` int32, an index into
          `stopping.REASONS`, of no meaning in rows that do not run.
        """
        tokens = write_column(
            progress.tokens, progress.step, tf.where(running, chosen, self.pad_id)
        )
        log_probabilities = tf.where(running, log_probabilities, 0.0)
        text, stopped = self._find_stops(progress, tokens, running)
        repeats, looping = self._find_loops(progress, tokens)
        finish = tf.where(
            progress.step + 1 >= self.parameters.max_new_tokens, stopping.LENGTH, stopping.RUNNING
        )
        finish = tf.where(looping, stopping.LOOP, finish)
        finish = tf.where(tf.equal(chosen, self.eos_id), stopping.EOS, finish)
        finish = tf.where(stopped, stopping.STOP, finish)
        written = progress._replace(
            step=progress.step + 1,
            tokens=tokens,
            log_probabilities=write_column(
                progress.log_probabilities, progress.step, log_probabilities
            ),
            forcing=self._advance_forcing(progress, tokens, forced),
            repeats=repeats,
            text=text,
        )
        return written, finish

    def _advance_forcing(
        self, progress: Written, tokens: tf.Tensor, forced: tf.Tensor
    ) -> forcing.Forcing:
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
        return tf.cond(
            asked, look, lambda: (progress.repeats, tf.zeros(tf.shape(tokens)[:1], tf.bool))
        )

    def _find_stops(
        self, progress: Written, tokens: tf.Tensor, running: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The rows' texts without the stop string, and `[B]` bool whether one was found now."""
        nothing = progress.text, tf.zeros_like(running)
        if self.detokenize is None:
            return nothing
        detokenize = self.detokenize
        wanted = running & tf.not_equal(self.parameters.stop, "")

        def look() -> tuple[tf.Tensor, tf.Tensor]:
            text, found = stopping.cut(
                progress.text, detokenize(tokens[:, : progress.step + 1]), self.stops
            )
            return tf.where(wanted, text, progress.text), wanted & found

        return tf.cond(tf.reduce_any(wanted), look, lambda: nothing)


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
      rearrange: (progress, state) -> the state with its rows if the search has moved them.
    """

    def running(progress: RunningT, *_: Any) -> tf.Tensor:
        return tf.reduce_any(tf.equal(progress.finish, stopping.RUNNING))

    def body(progress: RunningT, logits: tf.Tensor, state: Any) -> tuple[RunningT, tf.Tensor, Any]:
        progress = _shaped_as(progress, advance(progress, logits))

        def read() -> tuple[tf.Tensor, Any]:
            arranged = rearrange(progress, state)
            new_logits, new_state = step(progress.tokens[:, progress.step - 1], arranged)
            return _shaped_as((logits, state), (tf.cast(new_logits, tf.float32), new_state))

        # The model reads no token that nothing follows. The search is in the graph once: it is
        # the larger part.
        return progress, *tf.cond(running(progress), read, lambda: (logits, state))

    progress, _, _ = tf.while_loop(running, body, (progress, tf.cast(logits, tf.float32), state))
    return progress


def _shaped_as(old: NestT, new: NestT) -> NestT:
    """`new` with the static shapes of `old`, which a loop has to keep."""
    return tf.nest.map_structure(
        lambda a, b: b if a.shape == b.shape else tf.ensure_shape(b, a.shape), old, new
    )
