"""The base of the callbacks of a run: events by global step, and logs that stay on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tf_textgen.runs.measurement import Measurement


class RunCallback(keras.callbacks.Callback):
    """A Keras callback that also hears of measurements, validations, sample texts and messages."""

    def on_measurement(self, measurement: Measurement) -> None:
        """The metrics of the last steps were read."""

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """The model was validated: `nats_per_token`, `perplexity`, `accuracy`, `tokens`, maybe
        `bits_per_byte`.
        """

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
