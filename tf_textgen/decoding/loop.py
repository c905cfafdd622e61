"""The decoding loop: a model's `step` and a search's `advance` in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import tensorflow as tf

from tf_textgen.decoding import stopping

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]


class Running(Protocol):
    """The part of a search's progress that `run` reads."""

    @property
    def step(self) -> tf.Tensor:
        """Scalar int32."""

    @property
    def tokens(self) -> tf.Tensor:
        """`[R, N]` int32, for `R` rows of the model."""

    @property
    def finish(self) -> tf.Tensor:
        """`[B]` int32, RUNNING if the search continues."""


RunningT = TypeVar("RunningT", bound=Running)
NestT = TypeVar("NestT")


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

        # The model does not read the last token. The search is in the graph once, since it is the
        # larger part.
        last = tf.cond(running(progress), read, lambda: (logits, state))
        return progress, *last

    progress, _, _ = tf.while_loop(running, body, (progress, tf.cast(logits, tf.float32), state))
    return progress


def _shaped_as(old: NestT, new: NestT) -> NestT:
    """`new` with the static shapes of `old`, which a loop has to keep."""
    return tf.nest.map_structure(
        lambda a, b: b if a.shape == b.shape else tf.ensure_shape(b, a.shape), old, new
    )
