"""The curves of a run in TensorBoard; `keras.callbacks.TensorBoard` counts by epoch and knows no
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.objectives.perplexity import bits_per_byte
from tf_textgen.runs.measurement import Measurement
from tf_textgen.training.callbacks import RunCallback


class TensorBoard(RunCallback):
    """Writes scalars by global step, and sample texts.

    Training and validation are two runs in TensorBoard's sense, so that their curves share a chart:
    `logs/train` and `logs/validation` both hold `metrics/loss` (nats/token), `metrics/perplexity`,
    `metrics/accuracy` and `metrics/bits_per_byte`; only `logs/train` has `training/learning_rate`,
    `training/gradient_norm` and `training/tokens_per_second`; only `logs/validation` has the text
    `samples`.

    Args:
      directory: the folder `logs/` of the run.
      bytes_per_token: of the training text; None writes no `metrics/bits_per_byte` for it.
      unknown_byte_share: share of its bytes that unknown tokens hide.
    """

    def __init__(
        self,
        directory: str | Path,
        bytes_per_token: float | None = None,
        unknown_byte_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.bytes_per_token = bytes_per_token
        self.unknown_byte_share = unknown_byte_share
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_measurement(self, measurement: Measurement) -> None:
        values = {
            "metrics/loss": measurement.loss,
            "metrics/perplexity": measurement.perplexity,
            "metrics/accuracy": measurement.accuracy,
            "training/learning_rate": measurement.learning_rate,
            "training/gradient_norm": measurement.gradient_norm,
        }
        if measurement.tokens_per_second:
            values["training/tokens_per_second"] = measurement.tokens_per_second
        if self.bytes_per_token:
            values["metrics/bits_per_byte"] = bits_per_byte(
                measurement.loss, self.bytes_per_token, self.unknown_byte_share
            )
        self._write("train", measurement.step, values)

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        names = {"nats_per_token": "loss"}
        values = {
            f"metrics/{names.get(name, name)}": value
            for name, value in metrics.items()
            if name != "tokens"
        }
        self._write("validation", step, values)

    def on_sample(self, step: int, text: str) -> None:
        # Markdown shows an indented block unchanged.
        block = "\n".join("    " + line for line in text.splitlines())
        self._add("validation", lambda: tf.summary.text("samples", block, step=step))

    def on_train_end(self, logs: object = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, run: str, step: int, values: Mapping[str, float]) -> None:
        self._add(
            run,
            lambda: [tf.summary.scalar(name, value, step=step) for name, value in values.items()],
        )

    def _add(self, run: str, summaries: Callable[[], object]) -> None:
        try:
            if run not in self._writers:
                self._writers[run] = tf.summary.create_file_writer(str(self.directory / run))
            with self._writers[run].as_default():
                summaries()
            self._writers[run].flush()
        except tf.errors.OpError as error:
            raise UserError(
                f"cannot write {self.directory} ({atomic_files.reason(error)}): expected room and "
                "write access; make room and give the same command again"
            ) from error
