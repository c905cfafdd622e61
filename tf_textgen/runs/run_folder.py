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
import dataclasses
import itertools
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tf_textgen import atomic_files
from tf_textgen.errors import UserError
from tf_textgen.file_locks import lock
from tf_textgen.models import family
from tf_textgen.runs.checkpoint_folder import CheckpointFolder
from tf_textgen.runs.kept_files import RECIPE, RECIPE_HEADING, check_new_folder, keep_recipe
from tf_textgen.runs.recipe import PARTS

if TYPE_CHECKING:
    from tf_textgen.models.base import TextModel
    from tf_textgen.text.tokenizer import Tokenizer

# Parts of config.json that may change when a run is resumed.
_FREE_PARTS = ("decoding",)
# The parts of config.json that are objects: of all runs, and of some.
_OF_ALL = ("model_config", "data", "run")
_OF_SOME = ("decoding", "tokenizer", "embedding")
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError)
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

    def recorded(self) -> dict[str, Any] | None:
        """`config.json`, or None before the first checkpoint: till then, any run may begin here."""
        if not CheckpointFolder(self.checkpoints).steps():
            return None
        return read_config(self.path)

    def write_recipe(self, lines: Sequence[str]) -> None:
        """Writes the flags, one a line, under a comment that says how to use them."""
        if not self.writes:
            return
        flagfile = shlex.quote(f"--flagfile={self.path / RECIPE}")
        text = "\n".join([RECIPE_HEADING + flagfile, *lines]) + "\n"
        keep_recipe(self.path / RECIPE, text, is_new=self.recorded() is None)
        atomic_files.write_text(self.path / RECIPE, text)

    def check_same_run(self, config: Mapping[str, Any]) -> None:
        """Compares `config` (all or some of its parts) with `config.json`, if there is one.

        Raises:
          UserError: one line that names what differs, if it may not; or where `average` made the
            folder.
        """
        recorded = self.recorded()
        if recorded is not None and "averaged_run" in recorded:
            raise UserError(
                f"--run.dir={self.path} holds the mean of checkpoints of "
                f"{recorded['averaged_run']}, without the state of an optimizer: expected a run "
                "that train made; continue with that one or choose another --run.dir"
            )
        found = [] if recorded is None else list(differences(recorded, config))
        if found:
            named = "; ".join(found[:_NAMED_DIFFERENCES])
            if len(found) > _NAMED_DIFFERENCES:
                named += f" and {len(found) - _NAMED_DIFFERENCES} more"
            raise UserError(
                f"--run.dir={self.path} holds another run: {named}; only budget and "
                "logging may change; give its flags again (recipe.flags) or choose another "
                "--run.dir"
            )

    def write_config(self, config: Mapping[str, Any]) -> None:
        if self.writes:
            atomic_files.write_json(self.path / "config.json", config)

    def record(self) -> dict[str, Any] | None:
        """`run.json`, or None before a run has ended or where it is damaged: the next record takes
        its place.
        """
        return read_record(self.path)

    def write_record(self, record: Mapping[str, Any]) -> None:
        if self.writes:
            atomic_files.write_json(self.path / "run.json", record)


def differences(recorded: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Yields `part.field is A there, B here` for each field that may not change but does.

    Args:
      recorded: `config.json`.
      config: the configuration of this training, or some parts of it.
    """
    for part, values in config.items():
        if part in _FREE_PARTS:
            continue
        before = recorded.get(part)
        if not isinstance(values, Mapping) or not isinstance(before, Mapping):
            if values != before:
                yield _difference(part, before, values)
            if part == "model" and values != before:
                # The fields of two families have nothing in common.
                return
            continue
        fields = _fields_of(part, recorded)
        for name, value in values.items():
            entry = fields.get(name)
            if entry is not None and entry.metadata["may_change"]:
                continue
            # A run that was recorded before the field existed has its default.
            default = None if entry is None else _plain(entry.default)
            there = before.get(name, default)
            if value != there:
                yield _difference(f"{_prefix(part, recorded)}.{name}", there, value)


def _fields_of(part: str, recorded: Mapping[str, Any]) -> dict[str, dataclasses.Field[Any]]:
    """Returns name -> field, of a part that is a configuration."""
    config_class = PARTS.get(part)
    if part == "model_config":
        config_class = family(recorded["model"]).config_class
    if config_class is None:
        return {}
    return {entry.name: entry for entry in dataclasses.fields(config_class)}


def _prefix(part: str, recorded: Mapping[str, Any]) -> str:
    if part == "model_config":
        return family(recorded["model"]).config_class.prefix
    return part


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _difference(name: str, there: Any, here: Any) -> str:
    """Of long values, what surrounds the first place where they differ."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (there, here)]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
    start = max(sum(1 for _ in same) - 40, 0)
    before, after = (_brief(text, start) for text in texts)
    return f"{name} is {before} there, {after} here"


def _brief(text: str, start: int) -> str:
    if len(text) <= 60:
        return text
    shown = text[start:][:57]
    return "..." * (start > 0) + shown + "..." * (start + len(shown) < len(text))


def read_config(directory: str | Path) -> dict[str, Any]:
    """`config.json` of a run folder.

    Raises:
      UserError: if there is none, or it cannot be read.
    """
    path = Path(directory) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        for part in (*_OF_ALL, *(part for part in _OF_SOME if part in config)):
            if not isinstance(config[part], dict):
                raise ValueError(f"{part} is no object")
        family(config["model"])
        return config
    except OSError as error:
        raise UserError(
            f"{directory} is no run folder ({path.name}: {error.strerror}): expected the --run.dir "
            "of a training"
        ) from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged ({error}): expected JSON as train wrote it; put the file back or train "
        "again"
    )


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
      config: `config.json`.
      step: of the checkpoint.
      source_tokenizer: that of the sources; None if it is `tokenizer`.
      weights: "trained", or "average" if they are moving averages.
    """

    model: TextModel
    tokenizer: Tokenizer
    config: dict[str, Any]
    step: int
    source_tokenizer: Tokenizer | None = None
    weights: str = "trained"


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
    try:
        model = make_model(config)
    except UserError:
        raise
    except _DAMAGE as error:
        raise _damaged(Path(directory) / "config.json", error) from error
    step, found = checkpoints.restore_found(checkpoint, model, weights)
    shared = config.get("tokenizer", {}).get("shared", True)
    source_tokenizer = None if shared else load_tokenizer(Path(directory) / "source_tokenizer")
    return LoadedRun(
        model, load_tokenizer(Path(directory) / "tokenizer"), config, step, source_tokenizer, found
    )


def make_model(config: Mapping[str, Any]) -> TextModel:
    """A built model of `config["model"]`, `["model_config"]`, `["run"]`'s seed and precision, with
    what is frozen.

    Its name is the family's, so that its variables have the same paths in every process.
    """
    from tf_textgen.models.embedding_tables import embedding_tables

    name = config["model"]
    run = config["run"]
    if missing := {"seed", "precision"} - set(run):
        raise UserError(
            f"config.json is damaged (run has no {min(missing)}): expected JSON as train wrote it; "
            "put the file back or train again"
        )
    chosen = family(name)
    model_config = chosen.config_class.from_json(config["model_config"])
    model = chosen.model_class()(model_config, seed=run["seed"], name=name, dtype=run["precision"])
    model.initialize()
    if not config.get("embedding", {}).get("trainable", True):
        model.freeze(embedding_tables(model, config["embedding"]["side"]))
    return model
