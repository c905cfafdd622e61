"""What TensorBoard shows of a run; `keras.callbacks.TensorBoard` counts by epoch and knows no tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.training import durable
from tf_textgen.training.callbacks import Measurement, RunCallback, bits_per_byte


class TensorBoard(RunCallback):
    """Writes scalars by global step, and sample texts.

    Tags: `train/loss` (nats/token), `train/perplexity`, `train/accuracy`, `train/bits_per_byte`, `learning_rate`,
    `gradient_norm`, `tokens_per_second`, `validation/*` and the text `samples`.

    Args:
      directory: the folder `logs/` of the run.
      bytes_per_token: of the training text; None writes no `train/bits_per_byte`.
    """

    def __init__(self, directory: str | Path, bytes_per_token: float | None = None) -> None:
        super().__init__()
        self.directory, self.bytes_per_token = str(directory), bytes_per_token
        self._writer: tf.summary.SummaryWriter | None = None

    def on_measurement(self, measurement: Measurement) -> None:
        values = {
            "train/loss": measurement.loss,
            "train/perplexity": measurement.perplexity,
            "train/accuracy": measurement.accuracy,
            "learning_rate": measurement.learning_rate,
            "gradient_norm": measurement.gradient_norm,
        }
        if measurement.tokens_per_second:
            values["tokens_per_second"] = measurement.tokens_per_second
        if self.bytes_per_token:
            values["train/bits_per_byte"] = bits_per_byte(measurement.loss, self.bytes_per_token)
        self._write(measurement.step, values)

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._write(step, {f"validation/{name}": value for name, value in metrics.items() if name != "tokens"})

    def on_sample(self, step: int, text: str) -> None:
        # Markdown shows an indented block as it stands.
        block = "\n".join("    " + line for line in text.splitlines())
        self._add(lambda: tf.summary.text("samples", block, step=step))

    def on_train_end(self, logs: object = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        self._add(lambda: [tf.summary.scalar(name, value, step=step) for name, value in values.items()])

    def _add(self, summaries: Callable[[], object]) -> None:
        try:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(self.directory)
            with self._writer.as_default():
                summaries()
            self._writer.flush()
        except tf.errors.OpError as error:
            raise UserError(
                f"cannot write {self.directory} ({durable.reason(error)}): expected room and write access; "
                "make room and give the same command again"
            ) from error
