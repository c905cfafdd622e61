"""One `model.fit` by global step: the callbacks of a run, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import tensorflow as tf

from tf_textgen.data.batches import Share
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dataset import (
    evaluation_batches,
    evaluation_steps,
    steps_per_epoch,
    training_batches,
)
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.distribution.strategies import distribute
from tf_textgen.distribution.workers import Workers
from tf_textgen.models.base import TextModel
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.record import FitResult
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_folder import RunFolder
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.callbacks import RunCallback, RunCallbacks
from tf_textgen.training.progress import Progress
from tf_textgen.training.step_budget import MinutesBudget, plan_steps
from tf_textgen.training.step_metrics import Meter
from tf_textgen.training.stop_on_signal import StopOnSignal
from tf_textgen.training.tensorboard import TensorBoard
from tf_textgen.training.validation import SampleFile, Sampler, SaveCheckpoints, Validate


class TrainingData(NamedTuple):
    """The data of training and validation.

    Attributes:
      batches: endless `(features, labels, weights)`, beginning with the step after the run's last.
      steps_per_epoch: of `batches`.
      bytes_per_token: of the training text, if known.
      validation: batches of one pass; None validates never.
      validation_steps: number of these.
      validation_bytes_per_token: of that text, if known.
      unknown_byte_share, validation_unknown_byte_share: shares of the bytes of these texts that
        unknown tokens hide.
    """

    batches: Any
    steps_per_epoch: int
    bytes_per_token: float | None = None
    validation: Any = None
    validation_steps: int = 0
    validation_bytes_per_token: float | None = None
    unknown_byte_share: float = 0.0
    validation_unknown_byte_share: float = 0.0


def open_data(
    splits: Mapping[str, TokenizedSplit],
    config: DataConfig,
    *,
    model_kind: str,
    seed: int,
    start_step: int,
    strategy: tf.distribute.Strategy,
    micro_batches: int,
) -> TrainingData:
    """The batches of a run from global step `start_step` on; without the split `valid` there is no
    validation.
    """
    train = splits["train"]
    valid = splits.get("valid")

    def training(share: Share) -> tf.data.Dataset:
        return training_batches(
            train, config, seed=seed, start_step=start_step, model_kind=model_kind, share=share
        )

    data = TrainingData(
        batches=distribute(strategy, training, micro_batches),
        steps_per_epoch=steps_per_epoch(train, config, model_kind=model_kind),
        bytes_per_token=train.num_bytes / train.num_tokens,
        unknown_byte_share=train.unknown_byte_share,
    )
    if valid is None:
        return data
    return data._replace(
        validation=open_validation(valid, config, model_kind=model_kind, strategy=strategy),
        validation_steps=evaluation_steps(valid, config, model_kind=model_kind),
        validation_bytes_per_token=valid.num_bytes / valid.num_tokens,
        validation_unknown_byte_share=valid.unknown_byte_share,
    )


def open_validation(
    valid: TokenizedSplit, config: DataConfig, *, model_kind: str, strategy: tf.distribute.Strategy
) -> Any:
    """The batches of one pass over the split, for the replicas of `strategy`."""

    def once(share: Share) -> tf.data.Dataset:
        return evaluation_batches(valid, config, model_kind=model_kind, share=share)

    return distribute(strategy, once, 1)


def restore_newest(checkpoints: Checkpoints, model: TextModel, workers: Workers) -> RunState:
    """Sets model and optimizer of all workers to the newest whole checkpoint; a new state where
    there is none.

    To be called with the run folder locked; see `Checkpoints.newest_to_go_on`.
    """
    newest = checkpoints.newest_to_go_on() if workers.is_chief else None
    step = int(workers.from_chief(-1 if newest is None else newest))
    return RunState() if step < 0 else checkpoints.restore(step, model, model.optimizer)


def fit(
    model: TextModel,
    data: TrainingData,
    config: RunConfig,
    folder: RunFolder,
    checkpoints: Checkpoints,
    state: RunState,
    workers: Workers,
    *,
    sampler: Sampler | None = None,
    output: TextIO | None = None,
) -> FitResult:
    """Trains from `state.step` to the end of the budget.

    Args:
      model: compiled with an optimizer of `make_optimizer`, both as `state` says.
      data: its batches begin after `state.step`.
      config: budget, and how often to look.
      folder: receives logs and samples.
      checkpoints: of that folder.
      state: the state of the run; updated.
      workers: of the training; only the chief prints, logs and writes.
      sampler: step -> texts for people.
      output: for progress; standard output if None.

    Raises:
      UserError: loss that is no number, disk full.
    """
    state.early_stopped = 0 < config.early_stopping_validations <= state.validations_since_best
    state.total_steps = plan_steps(config, data.steps_per_epoch, state)
    schedule = model.optimizer.schedule
    schedule.total_steps = state.total_steps or 0
    if state.finished:
        return FitResult(None, 0.0, None)
    progress = Progress(state, output)
    listeners: list[RunCallback] = []
    if workers.is_chief:
        listeners = [
            progress,
            TensorBoard(folder.logs, data.bytes_per_token, data.unknown_byte_share),
            SampleFile(folder.samples),
        ]
    meter = Meter(state, listeners, config.log_every, checkpoints)
    saver = SaveCheckpoints(state, checkpoints, meter, config.checkpoint_every)
    validate = _validate(
        data, config, state, checkpoints, saver, listeners, sampler if workers.is_chief else None
    )
    callbacks: list[RunCallback] = [meter]
    if state.total_steps is None:
        sizes = (data.steps_per_epoch, data.validation_steps)
        budget = MinutesBudget(state, config, schedule, listeners, saver, validate, *sizes, workers)
        callbacks.append(budget)
    if validate is not None:
        callbacks.append(validate)
    steps = state.total_steps - state.step if state.total_steps else None
    with StopOnSignal(saver, listeners, workers) as stop:
        callbacks += [saver, stop, *listeners]
        try:
            together = RunCallbacks(callbacks, add_history=True, model=model, epochs=1, steps=steps)
            model.fit(
                data.batches,
                epochs=1,
                steps_per_epoch=steps,
                verbose=0,
                shuffle=False,
                callbacks=together,
            )
        finally:
            progress.on_train_end()
    return FitResult(meter.last, meter.tokens_per_second, stop.number)


def _validate(
    data: TrainingData,
    config: RunConfig,
    state: RunState,
    checkpoints: Checkpoints,
    saver: SaveCheckpoints,
    listeners: Sequence[RunCallback],
    sampler: Sampler | None,
) -> Validate | None:
    """The callback that validates, if there is something to validate on."""
    if data.validation is None:
        return None
    return Validate(
        state,
        checkpoints,
        saver,
        data.validation,
        listeners,
        every=config.validate_every,
        patience=config.early_stopping_validations,
        bytes_per_token=data.validation_bytes_per_token,
        unknown_byte_share=data.validation_unknown_byte_share,
        steps=data.validation_steps or None,
        sampler=sampler,
    )
