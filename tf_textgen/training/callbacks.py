"""What callbacks of a run share: events by global step, and logs that stay on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras


class Measurement(NamedTuple):
    """The steps since the last measurement, sums of tokens divided once.

    Attributes:
      step: the last of them.
      loss: nats/token, as in the labels (without smoothing).
      accuracy: share of tokens that had the highest probability.
      gradient_norm: mean global norm before clipping.
      learning_rate: of the last of them.
      tokens: target tokens.
      tokens_per_second: without the first step of a process (compilation), validations and checkpoints; 0 if unknown.
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


class RunCallback(keras.callbacks.Callback):
    """A Keras callback that also hears of measurements, validations, sample texts and messages."""

    def on_measurement(self, measurement: Measurement) -> None:
        """The metrics of the last steps were read."""

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """The model was validated: `nats_per_token`, `perplexity`, `accuracy`, `tokens`, maybe `bits_per_byte`."""

    def on_sample(self, step: int, text: str) -> None:
        """Texts were generated."""

    def on_message(self, text: str) -> None:
        """Something a person should read, one line."""


class RunCallbacks(keras.callbacks.CallbackList):
    """Keras' list of callbacks, without its conversion of each step's logs to Python numbers.

    That conversion waits for the device after every step.
    """

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


def announce(listeners: Sequence[RunCallback], event: str, *arguments: Any) -> None:
    """Calls the method `event` of all listeners."""
    for listener in listeners:
        getattr(listener, event)(*arguments)


def perplexity(nats_per_token: float) -> float:
    """e to the power of it; infinite where that is no longer a number."""
    return math.exp(nats_per_token) if nats_per_token < 700 else math.inf


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """Bits to write one byte of UTF-8: comparable over tokenizers."""
    return nats_per_token / (math.log(2) * bytes_per_token)
