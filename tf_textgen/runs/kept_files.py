"""Checks that no job writes over files that it reads, that belong to a run, or that a user made.

Real paths are compared, so that links and globs are seen through. Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.data.files import expand, is_remote
from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoint_folder import CheckpointFolder

RECIPE = "recipe.flags"
RECIPE_HEADING = "# python -m tf_textgen train "
OWN_NAMES = (
    "lock",
    RECIPE,
    "config.json",
    "tokenizer",
    "source_tokenizer",
    "checkpoints",
    "logs",
    "samples.txt",
    "run.json",
)
"""The files and folders of a run, which no other job replaces."""
# A training only adds files to logs/, and locks, continues or keeps the other two.
_TAKEN_NAMES = [name for name in OWN_NAMES if name not in ("lock", RECIPE, "logs")]
_LOCK = re.compile(r"(process \d+ on [^\n]*\n?)?")


def check_outside_runs(flag: str, path: str | Path, run: str | Path | None = None) -> None:
    """Raises `UserError` if a job would write to a file of a run.

    Args:
      flag: the flag that names the file, with its dashes.
      path: the file or folder to write.
      run: a run folder that is read; others are found among the folders above `path`.
    """
    written = Path(path).resolve()
    runs = [folder for folder in written.parents if _is_run(folder)]
    if run is not None:
        runs.insert(0, Path(run))
    for folder in runs:
        for name in OWN_NAMES:
            if written.is_relative_to((folder / name).resolve()):
                raise UserError(f"{flag}={path}: this file belongs to the run; choose another name")


def check_not_read(flag: str, path: str | Path, texts: Iterable[DataConfig]) -> None:
    """Raises `UserError` if a job would write over a text that it reads, under any of its names."""
    written = Path(path).resolve()
    for data in texts:
        if any(read.resolve() == written for _, read in data_files(data)):
            raise UserError(
                f"{flag}={path}: this file is read and would be overwritten; choose another name"
            )


def check_reads_outside(run: str | Path, reads: Iterable[tuple[str, Path]]) -> None:
    """Raises `UserError` if a training reads a file that it would write.

    Args:
      run: the run folder.
      reads: the flag, with its dashes, and the path of each file.
    """
    owned = [(Path(run) / name).resolve() for name in OWN_NAMES]
    for flag, path in reads:
        if any(path.resolve().is_relative_to(own) for own in owned):
            raise UserError(
                f"{flag} reads {path}, which is a file that the training writes in --run.dir={run};"
                " move or rename it, or choose another --run.dir"
            )


def data_files(data: DataConfig) -> Iterator[tuple[str, Path]]:
    """Yields the flag and the path of each local file of the data."""
    for split in SPLITS:
        for flag, patterns in (
            (f"data.{split}", data.patterns(split)),
            (f"data.{split}_target", data.target_patterns(split)),
        ):
            for pattern in patterns:
                if is_remote(pattern):
                    continue
                # A pattern without a file loses nothing.
                with contextlib.suppress(UserError):
                    for path in expand((pattern,), flag):
                        yield f"--{flag}={pattern}", Path(path)


def check_new_folder(run: Path, tokenizers: Sequence[str] = ()) -> None:
    """Raises `UserError` if a training would write over files that no training made.

    Args:
      run: the run folder.
      tokenizers: folders of tokenizers that the training uses, which stay as they are.
    """
    lock = run / "lock"
    if lock.is_file() and not _LOCK.fullmatch(lock.read_text("utf-8", "replace")):
        raise UserError(
            f"--run.dir={run} has a file lock that no training wrote: expected a new folder or one "
            "that train made; choose another"
        )
    if is_made_by_train(run):
        return
    kept = {Path(folder).resolve() for folder in tokenizers}
    missing = f"no {RECIPE}"
    if (run / RECIPE).exists():
        missing = f"a {RECIPE} that train did not write"
    for name in _TAKEN_NAMES:
        found = run / name
        if os.path.lexists(found) and found.resolve() not in kept:
            raise UserError(
                f"--run.dir={run} has {name} but {missing}: expected a new folder or one that "
                "train made; choose another"
            )


def keep_recipe(recipe: Path, text: str, *, is_new: bool) -> None:
    """Copies a `recipe.flags` that a user wrote or changed before `text` replaces it.

    Args:
      recipe: the file.
      text: its next content.
      is_new: whether the run has no checkpoint yet. Only then its recipe can be that of another
        run, which the path in its heading shows.
    """
    if not recipe.exists():
        return
    before = recipe.read_text("utf-8", "replace")
    heading, *flags = before.splitlines() or [""]
    is_written = heading.startswith(RECIPE_HEADING) and all(line.startswith("--") for line in flags)
    if is_new:
        is_written = is_written and heading == text.splitlines()[0]
    if is_written or before == text:
        return
    copy = recipe.with_name(f"{RECIPE}.kept")
    number = 1
    while os.path.lexists(copy):
        number += 1
        copy = recipe.with_name(f"{RECIPE}.kept-{number}")
    shutil.copy2(recipe, copy)
    print(f"note: {recipe} is not as train wrote it; it is kept as {copy.name}", file=sys.stderr)


def _is_run(folder: Path) -> bool:
    return (folder / RECIPE).is_file() and (folder / "config.json").is_file()


def is_made_by_train(run: Path) -> bool:
    """Returns whether the recipe is that of a training, or a training has saved checkpoints."""
    recipe = run / RECIPE
    if not recipe.is_file():
        return False
    if recipe.read_text("utf-8", "replace").startswith(RECIPE_HEADING):
        return True
    return _is_run(run) and CheckpointFolder(run / "checkpoints").has_state()
