"""The metrics of the training steps since the last measurement. Does not import TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

from tf_textgen.objectives.perplexity import perplexity


class Measurement(NamedTuple):
    """The steps since the last measurement, sums of tokens divided once.

    Attributes:
      step: the last of them.
      loss: nats/token, as in the labels (without smoothing).
      accuracy: share of tokens that had the highest probability.
      gradient_norm: mean global norm before clipping.
      learning_rate: of the last of them.
      tokens: target tokens.
      tokens_per_second: without the first step of a process (compilation), validations and
        checkpoints; 0 if unknown.
    """

    step: int
    loss: float
    accuracy: float
    gradient_norm: float
    learning_rate: float
    tokens: int
    tokens_per_second: float

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss)
