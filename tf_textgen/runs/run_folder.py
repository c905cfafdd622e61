"""The folder of a run: who may write it, what it says of the run, and the model in it.

    RUN/  lock               held by flock while a process trains here
          recipe.flags       every flag that differs from its default; written before the rest
          config.json        all configurations, and checksums of the data files
          tokenizer/
          source_tokenizer/  if sources have their own vocabulary
          checkpoints/
          logs/              TensorBoard
          samples.txt
          run.json           the record, written at the end

Importing this does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.file_locks import lock
from tf_textgen.models import family
from tf_textgen.runs.checkpoint_folder import CheckpointFolder
from tf_textgen.runs.kept_files import RECIPE, RECIPE_HEADING, check_new_folder, keep_recipe
from tf_textgen.runs.recorded_config import RecordedConfig, read_config, write_config
from tf_textgen.runs.recorded_paths import locate_data
from tf_textgen.runs.run_differences import differences

if TYPE_CHECKING:
    from tf_textgen.data.data_config import DataConfig
    from tf_textgen.models.base import TextModel
    from tf_textgen.text.tokenizer import Tokenizer

_NAMED_DIFFERENCES = 4


class RunFolder:
    """A run folder locked for writing; a context manager.

    Args:
      directory: made if missing.
      writes: whether this process is the one that writes; the other workers of a training lock and
        write nothing.
      tokenizers: folders of tokenizers that the training uses; they may be in the folder.

    Raises (on entering):
      UserError: if another process writes it, or it is another program's folder.
    """

    def __init__(
        self, directory: str | Path, *, writes: bool = True, tokenizers: Sequence[str] = ()
    ) -> None:
        self.path = Path(directory)
        self.writes = writes
        self._tokenizers = tokenizers
        self._lock: IO[str] | None = None

    tokenizer = property(lambda self: self.path / "tokenizer")
    checkpoints = property(lambda self: self.path / "checkpoints")
    logs = property(lambda self: self.path / "logs")
    samples = property(lambda self: self.path / "samples.txt")

    def __enter__(self) -> RunFolder:
        if not self.writes:
            return self
        check_new_folder(self.path, self._tokenizers)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / "lock", "a+", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"--run.dir={self.path}: {error.strerror}; expected a folder that can be made and "
                "written"
            ) from error
        try:
            lock(file, lambda: self._refuse(file))
        except UserError:
            file.close()
            raise
        self._lock = file
        file.truncate(0)
        # The name is a courtesy; a full disk is reported when something is lost.
        with contextlib.suppress(OSError):
            os.write(file.fileno(), f"process {os.getpid()} on {os.uname().nodename}\n".encode())
        return self

    def _refuse(self, lock_file: IO[str]) -> None:
        lock_file.seek(0)
        holder = lock_file.read().strip() or "another process"
        raise UserError(
            f"run folder in use: {holder} trains in {self.path}; wait for its end or choose "
            "another --run.dir"
        )

    def __exit__(self, *unused: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def recorded(self) -> RecordedConfig | None:
        """Returns the run's configuration, or None before the first checkpoint, since any run may
        start here until then.
        """
        if not CheckpointFolder(self.checkpoints).steps():
            return None
        return read_config(self.path)

    def write_recipe(self, lines: Sequence[str]) -> None:
        """Writes the flags, one a line, under a comment that says how to use them."""
        if not self.writes:
            return
        flagfile = shlex.quote(f"--flagfile={self.path / RECIPE}")
        text = "\n".join([RECIPE_HEADING + flagfile, *lines]) + "\n"
        is_new = not CheckpointFolder(self.checkpoints).steps()
        keep_recipe(self.path / RECIPE, text, is_new=is_new)
        atomic_files.write_text(self.path / RECIPE, text)

    def check_same_run(self, parts: Mapping[str, Any]) -> None:
        """Compares all or some parts of a `config.json` with those of the run, if there is one.

        Raises:
          UserError: one line that names the differences that are not allowed; or if `average` made
            the folder.
        """
        recorded = self.recorded()
        if recorded is None:
            return
        if recorded.kind == "average":
            raise UserError(
                f"--run.dir={self.path} holds the mean of checkpoints of "
                f"{recorded.averaged_run}, without the state of an optimizer: expected a run "
                "that train made; continue with that one or choose another --run.dir"
            )
        found = list(differences(recorded, parts))
        if found:
            named = "; ".join(found[:_NAMED_DIFFERENCES])
            if len(found) > _NAMED_DIFFERENCES:
                named += f" and {len(found) - _NAMED_DIFFERENCES} more"
            raise UserError(
                f"--run.dir={self.path} holds another run: {named}; only budget and "
                "logging may change; give its flags again (recipe.flags) or choose another "
                "--run.dir"
            )

    def write_config(self, config: RecordedConfig) -> None:
        if self.writes:
            write_config(self.path, config)

    def record(self) -> dict[str, Any] | None:
        """`run.json`, or None before a run has ended or if it is damaged: the next record takes
        its place.
        """
        return read_record(self.path)

    def write_record(self, record: Mapping[str, Any]) -> None:
        if self.writes:
            atomic_files.write_json(self.path / "run.json", record)


def read_record(directory: str | Path) -> dict[str, Any] | None:
    """`run.json` of a run folder, or None if there is none or it is damaged."""
    try:
        record = json.loads((Path(directory) / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


class LoadedRun(NamedTuple):
    """A trained run.

    Attributes:
      model: built, with the weights of the checkpoint; not compiled.
      tokenizer: the run's.
      config: the run's.
      step: of the checkpoint.
      source_tokenizer: that of the sources; None if it is `tokenizer`.
      weights: "trained", or "average" if they are moving averages.
    """

    model: TextModel
    tokenizer: Tokenizer
    config: RecordedConfig
    step: int
    source_tokenizer: Tokenizer | None = None
    weights: str = "trained"

    @property
    def data(self) -> DataConfig:
        """The recorded data, with the paths by which its files are found now."""
        return locate_data(self.config.data, self.config.paths, self.config.files)


def load_run(
    directory: str | Path, checkpoint: str | int = "best", weights: str | None = None
) -> LoadedRun:
    """Reads a run for evaluation, generation or export.

    Args:
      directory: the run folder.
      checkpoint: "best" (lowest validation loss; the newest if there was no validation), "last", or
        a step.
      weights: "average" (moving averages, which validations judged), "trained", or None: averages
        if there are any.

    Raises:
      UserError: if the folder or the checkpoint is missing or damaged, or has no averages.
    """
    from tf_textgen.runs.checkpoints import Checkpoints
    from tf_textgen.text import load_tokenizer

    config = read_config(directory)
    checkpoints = Checkpoints(Path(directory) / "checkpoints")
    model = make_model(config)
    step, found = checkpoints.restore_found(checkpoint, model, weights)
    source_tokenizer = None
    if not config.tokenizer.shared:
        source_tokenizer = load_tokenizer(Path(directory) / "source_tokenizer")
    return LoadedRun(
        model=model,
        tokenizer=load_tokenizer(Path(directory) / "tokenizer"),
        config=config,
        step=step,
        source_tokenizer=source_tokenizer,
        weights=found,
    )


def make_model(config: RecordedConfig) -> TextModel:
    """Returns a built model of a configuration, with its seed and precision, and what is frozen.

    Its name is the family's, so that its variables have the same paths in every process.
    """
    model = family(config.model).model_class()(
        config.model_config,
        seed=config.run.seed,
        name=config.model,
        dtype=config.run.precision,
    )
    model.initialize()
    if config.embedding.file is not None and not config.embedding.trainable:
        model.freeze(model.embedding_tables(config.embedding.side))
    return model
