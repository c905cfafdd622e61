"""The inputs that all searches share, and what follows from one more token."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import tensorflow as tf

from tf_textgen.decoding import forcing, stopping
from tf_textgen.decoding.constraints import Constraints
from tf_textgen.decoding.loop import Running
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.decoding.state import History, write_column

Detokenize = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchInputs:
    """The rows of a search, and what the search knows of the tokenizer.

    Attributes:
      parameters: of the whole rows, within the bounds that `parameters.sanitize` checks.
      constraints: the words of `parameters` as tokens, from `constraints.parse`; or
        `no_constraints`, which ignores the words.
      prompt_tokens: `[B, P]` int32, left-padded, as the model has read them: with the tokens that
        an earlier search has written.
      prompt_lengths: `[B]` int32, number of the last tokens of `prompt_tokens` that belong to the
        text. Logits processors do not see those before, which are the source of a target.
      max_new_tokens: upper bound of `parameters.max_new_tokens`.
      eos_id: the end token.
      pad_id: fills tokens after the end of a row.
      banned_ids: never generated. They contain `pad_id` if rows have earlier tokens.
      detokenize: `[B, N]` int32 -> `[B]` string, dropping pad and the end token. Without it there
        are no texts, and stop strings are ignored.
    """

    parameters: Parameters
    constraints: Constraints
    prompt_tokens: tf.Tensor
    prompt_lengths: tf.Tensor
    max_new_tokens: int
    eos_id: int
    pad_id: int = 0
    banned_ids: tuple[int, ...] = ()
    detokenize: Detokenize | None = None

    def bounded(self) -> SearchInputs:
        """The same with `parameters.max_new_tokens` within its bounds."""
        most = tf.clip_by_value(self.parameters.max_new_tokens, 1, self.max_new_tokens)
        return self.replace(parameters=self.parameters._replace(max_new_tokens=most))

    def repeated(self, copies: int) -> SearchInputs:
        """Each row `copies` times: `[B * copies]` rows."""
        names = ("parameters", "constraints", "prompt_tokens", "prompt_lengths")
        rows = {name: getattr(self, name) for name in names}
        repeated = tf.nest.map_structure(lambda x: tf.repeat(x, copies, axis=0), rows)
        return self.replace(**repeated)

    def replace(self, **changes: Any) -> SearchInputs:
        """A copy with other values, as `dataclasses.replace`."""
        return dataclasses.replace(self, **changes)


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(SearchInputs):
    """The base of all searches: their inputs, and what follows from one more token.

    A beam has several rows for each row of the batch; `B` is their number here.

    Attributes:
      stops: the stop strings of the rows.
    """

    stops: stopping.Stops

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
        column = tf.where(running, chosen, self.pad_id)
        tokens = write_column(progress.tokens, progress.step, column)
        log_probabilities = tf.where(running, log_probabilities, 0.0)
        text, stopped = self._find_stops(progress, tokens, running)
        repeats, looping = self._find_loops(progress, tokens)
        is_full = progress.step + 1 >= self.parameters.max_new_tokens
        finish = tf.where(is_full, stopping.LENGTH, stopping.RUNNING)
        finish = tf.where(looping, stopping.LOOP, finish)
        finish = tf.where(tf.equal(chosen, self.eos_id), stopping.EOS, finish)
        finish = tf.where(stopped, stopping.STOP, finish)
        all_values = write_column(progress.log_probabilities, progress.step, log_probabilities)
        written = progress._replace(
            step=progress.step + 1,
            tokens=tokens,
            log_probabilities=all_values,
            forcing=self._advance_forcing(progress, tokens, forced),
            repeats=repeats,
            text=text,
        )
        return written, finish

    def _advance_forcing(
        self, progress: Written, tokens: tf.Tensor, forced: tf.Tensor
    ) -> forcing.Forcing:
        words = self.constraints.forced

        def advance() -> forcing.Forcing:
            return forcing.advance(progress.forcing, words, tokens, progress.step + 1, forced)

        return tf.cond(tf.reduce_any(words.lengths > 0), advance, lambda: progress.forcing)

    def _find_loops(self, progress: Written, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The counts of repeated tokens, and `[B]` bool whether a row goes round in a loop."""

        def look() -> tuple[tf.Tensor, tf.Tensor]:
            repeats = stopping.count_repeats(progress.repeats, tokens, progress.step)
            return repeats, stopping.is_loop(repeats, self.parameters.loop_repeats)

        def skip() -> tuple[tf.Tensor, tf.Tensor]:
            return progress.repeats, tf.zeros(tf.shape(tokens)[:1], tf.bool)

        return tf.cond(tf.shape(progress.repeats)[1] > 0, look, skip)

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
            written = detokenize(tokens[:, : progress.step + 1])
            text, found = stopping.cut(progress.text, written, self.stops)
            return tf.where(wanted, text, progress.text), wanted & found

        return tf.cond(tf.reduce_any(wanted), look, lambda: nothing)


SearchT = TypeVar("SearchT", bound=Search)


def loop_periods(parameters: Parameters, steps: tf.Tensor) -> tf.Tensor:
    """The longest block of tokens that is looked for as a loop, or 0 if no row wants it.

    Args:
      parameters: of the rows.
      steps: scalar int32, number of tokens.
    """
    is_used = tf.reduce_any(parameters.loop_repeats > 0)
    # A longer block occurs only once.
    longest = steps // 2
    return tf.where(is_used, longest, 0)


def make_search(kind: type[SearchT], inputs: SearchInputs, **own: Any) -> SearchT:
    """A search of one kind.

    Args:
      kind: the class.
      inputs: of the search, within their bounds.
      own: the fields that only `kind` has.
    """
    shared = {entry.name: getattr(inputs, entry.name) for entry in dataclasses.fields(inputs)}
    stops = stopping.parse_stops(inputs.parameters.stop)
    return kind(**shared, stops=stops, **own)
