"""Checkpoints: every variable by its path, in a folder that is whole or absent.

    checkpoints/step-00001000/  model.* optimizer.*  (tf.train.Checkpoint format, apart: inference
                                needs the first) carried.*            recurrent states of all rows,
                                where batches hand them on average.*            moving averages of
                                the weights, if they are kept state.json           RunState
                                manifest.json        sizes and SHA-256 of the files; paths, shapes,
                                dtypes of variables
    checkpoints/best.json       step and loss of the best validation

`tf.train.Checkpoint(model=model)` would silently leave out layers held in lists and the state of
dropout.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.models.moving_average import UPDATES
from tf_textgen.runs.run_state import RunState

_logger = logging.getLogger(__name__)
_SEED_GENERATOR = re.compile(r"seed_generator(_\d+)?/seed_generator_state$")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class DamagedCheckpoint(Exception):
    """A checkpoint folder whose files are not what was written."""


def by_path(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    """The TensorFlow variables keyed by Keras path.

    Keras numbers seed generators through the whole process; here they are numbered through the
    model, so that a checkpoint can be read where other models were made before.

    Raises:
      UserError: where two variables have one path, which would leave one of them out.
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


class Checkpoints:
    """The checkpoints of one run.

    Args:
      directory: the folder `checkpoints/`; made at the first save.
      keep: newest checkpoints to keep, next to the best.
      writes: whether this process is the one that writes; the other workers of a training only
        read, but have to call `save` as well, if the states of their rows are gathered.
    """

    def __init__(self, directory: str | Path, keep: int = 2, *, writes: bool = True) -> None:
        self.directory = Path(directory)
        self.keep = keep
        self.writes = writes

    # Finding.

    def steps(self) -> list[int]:
        """Steps of all checkpoints, oldest first."""
        names = [path.name for path in self.directory.glob("step-*") if path.is_dir()]
        return sorted(int(name[5:]) for name in names if name[5:].isdecimal())

    def folder(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def best_step(self) -> int | None:
        """The step that `best.json` names, if its checkpoint is there."""
        try:
            step = json.loads((self.directory / "best.json").read_text("utf-8"))["step"]
        except _DAMAGE:
            return None
        return step if isinstance(step, int) and self.folder(step).is_dir() else None

    def whole(self) -> Iterator[int]:
        """The steps whose files are undamaged, newest first; each damaged one on the way is named
        in a warning.
        """
        for step in reversed(self.steps()):
            try:
                self._verify(step)
            except DamagedCheckpoint as error:
                _logger.warning(
                    "checkpoint of step %d is damaged (%s); going back to the one before",
                    step,
                    error,
                )
            else:
                yield step

    def newest_whole(self) -> int | None:
        """The newest step whose files are undamaged, or None."""
        return next(self.whole(), None)

    def find(self, which: str | int) -> int:
        """The step that "best" (the newest if there is none yet), "last" or a number means.

        Raises:
          UserError: if there is no such checkpoint.
        """
        if which == "best" and (best := self.best_step()) is not None:
            try:
                self._verify(best)
                return best
            except DamagedCheckpoint as error:
                _logger.warning(
                    "the best checkpoint, of step %d, is damaged (%s); taking the newest",
                    best,
                    error,
                )
        if which in ("best", "last"):
            newest = self.newest_whole()
            if newest is None and self.steps():
                raise UserError(self._all_damaged())
            if newest is None:
                raise UserError(f"{self.directory}: no checkpoint there, expected one; train first")
            return newest
        if not str(which).isdecimal() or int(which) not in self.steps():
            listed = ", ".join(map(str, self.steps())) or "none"
            raise UserError(
                f"checkpoint {which!r}: expected best, last or one of the steps {listed}"
            )
        try:
            self._verify(int(which))
        except DamagedCheckpoint as error:
            raise UserError(
                f"checkpoint of step {which} is damaged ({error}); choose another step"
            ) from error
        return int(which)

    def newest_to_go_on(self) -> int | None:
        """The newest whole step, for whoever holds the run's lock and writes on; None if there
        is no checkpoint.

        What an earlier process left unfinished is removed, undone (a checkpoint set aside for
        another of its step) or finished (a best checkpoint that was yet to be marked). Damaged
        newer checkpoints are kept under another
        name: under their own they would count as the newest, and those to come would be pruned
          before them.

        Raises:
          UserError: if all checkpoints are damaged; beginning again would replace them.
        """
        if not self.writes:
            raise UserError(
                f"{self.directory}: only the first worker decides if a training continues"
            )
        self._tidy()
        newest = self.newest_whole()
        if newest is None and self.steps():
            raise UserError(self._all_damaged())
        for step in self.steps():
            if newest is not None and step > newest:
                aside = self.directory / f"damaged-{self.folder(step).name}"
                shutil.rmtree(aside, ignore_errors=True)
                self.folder(step).rename(aside)
        if newest is not None:
            state = self._state(newest)
            if state.best_step == newest != self.best_step() and state.best_loss is not None:
                self.mark_best(newest, state.best_loss)
        return newest

    def _tidy(self) -> None:
        """Takes back or removes what a killed process had written next to, or was removing."""
        for path in self.directory.glob(".step-*.old"):
            if not (before := self.directory / path.name.split(".")[1]).exists():
                path.rename(before)
        for path in self.directory.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()

    def _all_damaged(self) -> str:
        listed = ", ".join(map(str, self.steps()))
        return (
            f"{self.directory}: all checkpoints (of steps {listed}) are damaged, expected a whole "
            "one; put one back, or train in another --run.dir"
        )

    # Writing.

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
                atomic_files.write_json(folder / "state.json", state.to_json())
                atomic_files.write_json(
                    folder / "manifest.json", {"files": _files(folder), **_describe(parts)}
                )
        except (OSError, tf.errors.OpError) as error:
            raise UserError(self._cannot_save(state.step, error)) from error
        self._prune()
        return path

    def mark_best(self, step: int, loss: float) -> None:
        """Makes the checkpoint of `step` the best one."""
        if not self.writes:
            return
        try:
            atomic_files.write_json(self.directory / "best.json", {"step": step, "loss": loss})
        except OSError as error:
            raise UserError(self._cannot_save(step, error)) from error
        self._prune()

    def _cannot_save(self, step: int, error: Exception) -> str:
        free = shutil.disk_usage(self.directory if self.directory.exists() else "/").free / 1e6
        kept = (
            f"the checkpoint of step {self.steps()[-1]} is kept"
            if self.steps()
            else "there is none before it"
        )
        return (
            f"cannot save the checkpoint of step {step} in {self.directory} "
            f"({atomic_files.reason(error)}; {free:.0f} MB free); {kept}; make room and give the "
            "same command again"
        )

    def _prune(self) -> None:
        keep = {*self.steps()[-self.keep :], self.best_step()}
        for step in self.steps():
            if step not in keep:
                removed = (
                    self.directory / f".step-{step:08d}.removed"
                )  # half a checkpoint must not be seen
                with contextlib.suppress(OSError):
                    self.folder(step).rename(removed)
                    shutil.rmtree(removed, ignore_errors=True)

    # Reading.

    def restore(
        self, step: int, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> RunState:
        """Sets every variable of a built model (and built optimizer) to its value at `step`.

        Raises:
          UserError: where variables of the checkpoint and the model differ, naming the first.
        """
        folder = self.folder(step)
        saved = json.loads((folder / "manifest.json").read_text("utf-8"))["variables"]
        for part, variables in _weights(model, optimizer).items():
            _check_same(folder, saved.get(part, {}), _shapes(variables))
            tf.train.Checkpoint(**variables).read(str(folder / part)).assert_consumed()
        if optimizer is not None and (carried := getattr(model, "carried_state", None)) is not None:
            values = _read_carried(folder, saved.get("carried", {}))
            _check_same(folder, _shapes(values), _shapes(carried.specs))
            carried.scatter(values)
        return self._state(step)

    def _state(self, step: int) -> RunState:
        return RunState.from_json(json.loads((self.folder(step) / "state.json").read_text("utf-8")))

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
        folder = self.folder(step)
        saved = json.loads((folder / "manifest.json").read_text("utf-8"))["variables"].get(
            "average"
        )
        if which == "average" and saved is None:
            raise UserError(
                f"--run.weights=average: {folder} has no moving averages, expected a run trained "
                "with --optimizer.ema_decay; choose trained"
            )
        if which == "trained" or saved is None:
            return "trained"
        weights = by_path(model.trainable_variables)
        _check_same(
            folder,
            {path: shape for path, shape in saved.items() if path != UPDATES},
            _shapes(weights),
        )
        status = tf.train.Checkpoint(**weights).read(str(folder / "average"))
        status.assert_existing_objects_matched().expect_partial()  # all but the number of updates
        return "average"

    def _verify(self, step: int) -> None:
        folder = self.folder(step)
        try:
            manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
            files = manifest["files"]
            if not files or not isinstance(manifest["variables"]["model"], dict):
                raise DamagedCheckpoint("manifest.json names no files or variables")
            for name, expected in files.items():
                path = folder / name
                if not path.is_file():
                    raise DamagedCheckpoint(f"{name} is missing")
                if path.stat().st_size != expected["bytes"]:
                    raise DamagedCheckpoint(
                        f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
                    )
                if atomic_files.sha256(path) != expected["sha256"]:
                    raise DamagedCheckpoint(f"{name} has another content than was written")
        except _DAMAGE as error:
            raise DamagedCheckpoint(f"manifest.json: {error}") from error


def _parts(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
) -> dict[str, dict[str, tf.Variable]]:
    """Returns the variables by part and path: of the model only, or all that a training needs
    to continue.
    """
    parts = _weights(model, optimizer)
    if optimizer is not None and (carried := getattr(model, "carried_state", None)) is not None:
        parts["carried"] = {name: tf.Variable(value) for name, value in carried.gather().items()}
    return parts


def _weights(
    model: keras.Model, optimizer: keras.optimizers.Optimizer | None
) -> dict[str, dict[str, tf.Variable]]:
    """The variables that stay if they are, by part and path."""
    parts = {"model": by_path(model.variables)}
    if optimizer is not None:
        parts["optimizer"] = by_path(optimizer.variables)
        if (average := getattr(model, "moving_average", None)) is not None:
            parts["average"] = average.by_path()
    return parts


def _read_carried(folder: Path, saved: dict[str, list[Any]]) -> dict[str, tf.Tensor]:
    """The carried states of all rows, by name.

    Older checkpoints hold those of each replica apart, as `replica_0/state_0`: they are put side by
      side.
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


def _files(folder: Path) -> dict[str, Any]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": atomic_files.sha256(path)}
        for path in files
    }


def _describe(parts: dict[str, dict[str, tf.Variable]]) -> dict[str, Any]:
    return {"variables": {part: _shapes(variables) for part, variables in parts.items()}}


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
