"""The folder `checkpoints/` of a run: names of the checkpoints, and which of them are whole.

    checkpoints/step-00001000/  one checkpoint, whole or absent
                state.json      the `RunState`
                manifest.json   sizes and SHA-256 of the files; paths, shapes, dtypes of variables
    checkpoints/best.json       step and loss of the best validation

Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.runs.run_state import RunState

_logger = logging.getLogger(__name__)
T = TypeVar("T")
_PREFIX = "step-"
_BEST = "best.json"
_STATE = "state.json"
_MANIFEST = "manifest.json"
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)
# A training that removes checkpoints faster than they can be read leaves the best one in place.
_ATTEMPTS = 50


class DamagedCheckpoint(Exception):
    """A checkpoint folder whose files differ from those that were written."""


class RemovedCheckpoint(UserError):
    """A checkpoint that a running training removed after it was found."""


def retry_if_removed(read: Callable[[], T]) -> T:
    """Returns `read()`, and calls it again if the checkpoint that it found was removed meanwhile.

    A running training removes its older checkpoints when it writes a new one.

    Raises:
      RemovedCheckpoint: if this happens again and again.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(RemovedCheckpoint):
            return read()
    return read()


class CheckpointFolder:
    """The checkpoints of one run as files.

    Args:
      directory: the folder `checkpoints/`; made at the first save.
      keep: newest checkpoints to keep, next to the best.
      writes: whether this process is the one that writes.
    """

    def __init__(self, directory: str | Path, keep: int = 2, *, writes: bool = True) -> None:
        self.directory = Path(directory)
        self.keep = keep
        self.writes = writes

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, oldest first."""
        names = [path.name for path in self.directory.glob(f"{_PREFIX}*") if path.is_dir()]
        numbers = [name.removeprefix(_PREFIX) for name in names]
        return sorted(int(number) for number in numbers if number.isdecimal())

    def has_state(self) -> bool:
        """Returns whether a checkpoint holds the state of a run."""
        return any((self.folder(step) / _STATE).is_file() for step in self.steps())

    def folder(self, step: int) -> Path:
        return self.directory / f"{_PREFIX}{step:08d}"

    def best_step(self) -> int | None:
        """Returns the step that `best.json` names, if its checkpoint exists."""
        step = self._marked_step()
        while step is not None and not self.folder(step).is_dir():
            # A running training marks the new best checkpoint before it removes the old one.
            marked_now = self._marked_step()
            if marked_now == step:
                return None
            step = marked_now
        return step

    def whole(self) -> Iterator[int]:
        """Yields the steps whose files are undamaged, newest first, and warns of each damaged one.

        Raises:
          RemovedCheckpoint: if a checkpoint is removed meanwhile.
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
        """Returns the newest step whose files are undamaged, or None."""
        return retry_if_removed(lambda: next(self.whole(), None))

    def find(self, which: str | int) -> int:
        """Returns the step that "best" (the newest if there is none yet), "last" or a number means.

        Raises:
          UserError: if there is no such checkpoint.
        """
        return retry_if_removed(lambda: self._find(which))

    def newest_to_go_on(self) -> int | None:
        """Returns the newest whole step, for the process that holds the run's lock and continues.

        What an earlier process left unfinished is removed, undone (a checkpoint set aside for
        another of its step) or finished (a best checkpoint that was yet to be marked). Damaged
        newer checkpoints are kept under another name: under their own they would count as the
        newest, and those to come would be pruned before them.

        Returns:
          None if there is no checkpoint.

        Raises:
          UserError: if all checkpoints are damaged; a restart would replace them.
        """
        if not self.writes:
            raise UserError(
                f"{self.directory}: only the first worker decides if a training continues"
            )
        if self.directory.exists():
            atomic_files.clean_up(self.directory)
        newest = self.newest_whole()
        if newest is None:
            if self.steps():
                raise UserError(self._all_damaged())
            return None
        for step in self.steps():
            if step > newest:
                aside = self.directory / f"damaged-{self.folder(step).name}"
                shutil.rmtree(aside, ignore_errors=True)
                self.folder(step).rename(aside)
        state = self.state(newest)
        if state.best_step == newest != self.best_step() and state.best_loss is not None:
            self.mark_best(newest, state.best_loss)
        return newest

    def mark_best(self, step: int, loss: float) -> None:
        """Makes the checkpoint of `step` the best one."""
        if not self.writes:
            return
        try:
            atomic_files.write_json(self.directory / _BEST, {"step": step, "loss": loss})
        except OSError as error:
            raise UserError(self.cannot_save(step, error)) from error
        self.prune()

    def prune(self) -> None:
        """Removes the checkpoints that are neither the best nor among the newest to keep."""
        steps = self.steps()
        keep = {*steps[-self.keep :], self.best_step()}
        for step in steps:
            if step not in keep:
                folder = self.folder(step)
                # A checkpoint of which some files are removed must not be seen.
                removed = self.directory / f".{folder.name}.removed"
                with contextlib.suppress(OSError):
                    folder.rename(removed)
                    shutil.rmtree(removed, ignore_errors=True)

    def state(self, step: int) -> RunState:
        """Returns the state of the run at `step`."""
        return RunState.from_json(_read_json(self.folder(step) / _STATE))

    def saved_variables(self, step: int) -> dict[str, dict[str, list[Any]]]:
        """Returns part -> path -> shape and dtype of the variables saved at `step`."""
        return _read_json(self.folder(step) / _MANIFEST)["variables"]

    def write_description(
        self, folder: Path, state: RunState, variables: dict[str, dict[str, list[Any]]]
    ) -> None:
        """Writes `state.json` and `manifest.json` next to the variables in a new checkpoint.

        Args:
          folder: of the checkpoint, with the files of all variables.
          state: of the run.
          variables: part -> path -> shape and dtype.
        """
        atomic_files.write_json(folder / _STATE, state.to_json())
        files = {}
        for path in sorted(folder.iterdir()):
            if path.is_file():
                files[path.name] = {
                    "bytes": path.stat().st_size,
                    "sha256": atomic_files.sha256(path),
                }
        atomic_files.write_json(folder / _MANIFEST, {"files": files, "variables": variables})

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[None]:
        """Raises `RemovedCheckpoint` if the block fails and the checkpoint does not exist any more.

        Errors of a block whose checkpoint exists are raised as they are.
        """
        folder = self.folder(step)
        try:
            yield
        except Exception as error:
            if folder.is_dir():
                raise
            raise RemovedCheckpoint(
                f"{folder} cannot be read any more ({atomic_files.reason(error)}): expected a "
                "checkpoint that stays; a run in training removes its older ones, give the same "
                "command again"
            ) from error

    def cannot_save(self, step: int, error: Exception) -> str:
        """Returns the message of a checkpoint that could not be written."""
        folder = self.directory if self.directory.exists() else Path("/")
        free = shutil.disk_usage(folder).free / 1e6
        steps = self.steps()
        kept = "there is none before it"
        if steps:
            kept = f"the checkpoint of step {steps[-1]} is kept"
        return (
            f"cannot save the checkpoint of step {step} in {self.directory} "
            f"({atomic_files.reason(error)}; {free:.0f} MB free); {kept}; make room and give the "
            "same command again"
        )

    def _find(self, which: str | int) -> int:
        if which == "best":
            best = self._whole_best()
            if best is not None:
                return best
        if which in ("best", "last"):
            newest = next(self.whole(), None)
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

    def _whole_best(self) -> int | None:
        best = self.best_step()
        if best is None:
            return None
        try:
            self._verify(best)
        except DamagedCheckpoint as error:
            _logger.warning(
                "the best checkpoint, of step %d, is damaged (%s); taking the newest", best, error
            )
            return None
        return best

    def _marked_step(self) -> int | None:
        try:
            step = _read_json(self.directory / _BEST)["step"]
        except _DAMAGE:
            return None
        return step if isinstance(step, int) else None

    def _all_damaged(self) -> str:
        listed = ", ".join(map(str, self.steps()))
        return (
            f"{self.directory}: all checkpoints (of steps {listed}) are damaged, expected a whole "
            "one; put one back, or train in another --run.dir"
        )

    def _verify(self, step: int) -> None:
        """Raises `DamagedCheckpoint` or `RemovedCheckpoint` if the files are not as written."""
        with self.reading(step):
            try:
                _verify_files(self.folder(step))
            except _DAMAGE as error:
                raise DamagedCheckpoint(f"{_MANIFEST}: {error}") from error


def _verify_files(folder: Path) -> None:
    manifest = _read_json(folder / _MANIFEST)
    files = manifest["files"]
    if not files or not isinstance(manifest["variables"]["model"], dict):
        raise DamagedCheckpoint(f"{_MANIFEST} names no files or variables")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise DamagedCheckpoint(f"{name} is missing")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise DamagedCheckpoint(f"{name} has {size} bytes instead of {expected['bytes']}")
        if atomic_files.sha256(path) != expected["sha256"]:
            raise DamagedCheckpoint(f"{name} has another content than was written")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
