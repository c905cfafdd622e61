"""Checkpoints: every variable by its path, in a folder that is whole or absent.

    checkpoints/step-00001000/
        model.*      the variables of the model, in the format of tf.train.Checkpoint
        optimizer.*  those of the optimizer, apart, since inference needs the first only
        carried.*    recurrent states of all rows, if batches carry them
        average.*    moving averages of the weights, if they are kept

The other files are those of `CheckpointFolder`. `tf.train.Checkpoint(model=model)` would silently
leave out layers held in lists and the state of dropout.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.models.moving_average import UPDATES
from tf_textgen.runs.checkpoint_folder import CheckpointFolder, retry_if_removed
from tf_textgen.runs.run_state import RunState

_SEED_GENERATOR = re.compile(r"seed_generator(_\d+)?/seed_generator_state$")


def by_path(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    """The TensorFlow variables keyed by Keras path.

    Keras numbers seed generators through the whole process; here they are numbered through the
    model, so that a checkpoint can be read in a process that made other models before.

    Raises:
      UserError: if two variables have one path, which would leave one of them out.
    """
    found: dict[str, tf.Variable] = {}
    generators = itertools.count()
    for variable in variables:
        path = variable.path
        if _SEED_GENERATOR.search(path):
            path = _SEED_GENERATOR.sub(
                f"seed_generator_{next(generators)}/seed_generator_state", path
            )
        if path in found:
            raise UserError(
                f"two variables have the path {path!r}: give their layers different names"
            )
        found[path] = variable.value
    return found


class Checkpoints(CheckpointFolder):
    """The checkpoints of one run.

    Args:
      directory: the folder `checkpoints/`; made at the first save.
      keep: newest checkpoints to keep, next to the best.
      writes: whether this process is the one that writes; the other workers of a training only
        read, but have to call `save` as well, if the states of their rows are gathered.
    """

    def save(
        self,
        state: RunState,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> Path:
        """Writes the checkpoint of `state.step`, then removes those no longer kept.

        Args:
          state: names the step.
          model: built.
          optimizer: built; None if the model is not trained by one.

        Raises:
          UserError: if the disk is full or may not be written; what existed before is untouched.
        """
        path = self.folder(state.step)
        parts = _parts(model, optimizer)
        if not self.writes:
            return path
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with atomic_files.new_folder(path) as folder:
                for part, variables in parts.items():
                    tf.train.Checkpoint(**variables).write(str(folder / part))
                shapes = {part: _shapes(variables) for part, variables in parts.items()}
                self.write_description(folder, state, shapes)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(self.cannot_save(state.step, error)) from error
        self.prune()
        return path

    def restore(
        self, step: int, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> RunState:
        """Sets every variable of a built model (and built optimizer) to its value at `step`.

        Raises:
          UserError: if variables of the checkpoint and the model differ, naming the first; a
            `RemovedCheckpoint` if a running training has removed it.
        """
        with self.reading(step):
            folder = self.folder(step)
            saved = self.saved_variables(step)
            for part, variables in _weights(model, optimizer).items():
                _check_same(folder, saved.get(part, {}), _shapes(variables))
                tf.train.Checkpoint(**variables).read(str(folder / part)).assert_consumed()
            carried = getattr(model, "carried_state", None)
            if optimizer is not None and carried is not None:
                values = _read_carried(folder, saved.get("carried", {}))
                _check_same(folder, _shapes(values), _shapes(carried.specs))
                carried.scatter(values)
            return self.state(step)

    def restore_found(
        self, which: str | int, model: keras.Model, weights: str | None = None
    ) -> tuple[int, str]:
        """Finds a checkpoint and sets a built model to its weights.

        If a running training removes the checkpoint meanwhile, another one is found.

        Args:
          which: as `find` takes it.
          model: built.
          weights: as `restore_weights` takes it.

        Returns:
          The step, and which of the weights they are: "average" or "trained".

        Raises:
          UserError: if there is no such checkpoint, or it does not fit the model.
        """

        def restore() -> tuple[int, str]:
            step = self.find(which)
            return step, self.restore_weights(step, model, weights)

        return retry_if_removed(restore)

    def restore_weights(self, step: int, model: keras.Model, which: str | None = None) -> str:
        """Sets a built model to its weights at `step`, as they are used after the training.

        Args:
          step: of a whole checkpoint.
          model: built.
          which: "average" for the moving averages of the weights, which validations judged,
            "trained" for the weights themselves, None for averages if there are any.

        Returns:
          Which of the two they are.

        Raises:
          UserError: if there are no averages, or what was saved does not fit the model.
        """
        self.restore(step, model)
        with self.reading(step):
            saved = self.saved_variables(step).get("average")
            if which == "average" and saved is None:
                raise UserError(
                    f"--run.weights=average: {self.folder(step)} has no moving averages, expected "
                    "a run trained with --optimizer.ema_decay; choose trained"
                )
            if which == "trained" or saved is None:
                return "trained"
            self._restore_average(step, model, saved)
        return "average"

    def _restore_average(self, step: int, model: keras.Model, saved: dict[str, list[Any]]) -> None:
        folder = self.folder(step)
        weights = by_path(model.trainable_variables)
        averages = {path: shape for path, shape in saved.items() if path != UPDATES}
        _check_same(folder, averages, _shapes(weights))
        status = tf.train.Checkpoint(**weights).read(str(folder / "average"))
        # The number of updates is not read.
        status.assert_existing_objects_matched().expect_partial()


def _parts(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
) -> dict[str, dict[str, tf.Variable]]:
    """Returns the variables by part and path: of the model only, or all that a training needs
    to continue.
    """
    parts = _weights(model, optimizer)
    carried = getattr(model, "carried_state", None)
    if optimizer is not None and carried is not None:
        parts["carried"] = {name: tf.Variable(value) for name, value in carried.gather().items()}
    return parts


def _weights(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | None
) -> dict[str, dict[str, tf.Variable]]:
    """Returns the variables that outlive a step, by part and path."""
    parts = {"model": by_path(model.variables)}
    if optimizer is not None:
        parts["optimizer"] = by_path(optimizer.variables)
        average = getattr(model, "moving_average", None)
        if average is not None:
            parts["average"] = average.by_path()
    return parts


def _read_carried(folder: Path, saved: dict[str, list[Any]]) -> dict[str, tf.Tensor]:
    """Returns the carried states of all rows, by name.

    Older checkpoints hold those of each replica apart, as `replica_0/state_0`: they are
    concatenated.
    """
    variables = {
        path: tf.Variable(tf.zeros(shape, dtype)) for path, (shape, dtype) in sorted(saved.items())
    }
    if variables:
        tf.train.Checkpoint(**variables).read(str(folder / "carried")).assert_consumed()
    parts: dict[str, list[tf.Tensor]] = {}
    for path, variable in variables.items():
        parts.setdefault(path.rpartition("/")[2], []).append(variable.value())
    return {name: tf.concat(values, axis=0) for name, values in parts.items()}


def _shapes(variables: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        path: [list(variable.shape), variable.dtype.name] for path, variable in variables.items()
    }


def _check_same(folder: Path, saved: dict[str, list[Any]], here: dict[str, list[Any]]) -> None:
    for path in [*saved, *here]:
        if saved.get(path) != here.get(path):
            raise UserError(
                f"{folder} does not fit this model: {path} is {saved.get(path, 'absent')} in the "
                f"checkpoint and {here.get(path, 'absent')} in the model; use the configuration it "
                "was trained with"
            )
