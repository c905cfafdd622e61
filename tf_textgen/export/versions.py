"""The folder of a served model: its numbered versions, written by one process at a time."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

import tensorflow as tf

from tf_textgen.atomic_files import reason
from tf_textgen.errors import UserError
from tf_textgen.file_locks import lock

# TensorFlow Serving holds a version in 64 bits.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def version_number(name: str) -> int | None:
    """The version that a folder of this name is, or None: "007" would be another name of 7."""
    return int(name) if _NUMBER.fullmatch(name) else None


def version_numbers(root: pathlib.Path) -> list[int]:
    """The versions in a served model's folder, ascending."""
    if not root.is_dir():
        return []
    numbers = []
    for entry in root.iterdir():
        number = version_number(entry.name)
        if number is not None:
            numbers.append(number)
    return sorted(numbers)


def remove_old_versions(root: pathlib.Path, written: int, keep: int) -> list[int]:
    """Removes all versions but the one just written, the newest, and the `keep` newest others.

    A version is renamed before its files are deleted, so that a server never sees a part of it.
    Folders without a SavedModel and links to other places are kept.

    Args:
      root: the served model's folder.
      written: the version just written.
      keep: number of other versions to keep.

    Returns:
      The removed versions, ascending.
    """
    with locked(root):
        versions = [version for version in version_numbers(root) if _is_export(root, version)]
        others = [version for version in versions if version not in (written, versions[-1])]
        removed = others[: max(len(others) - keep, 0)]
        for version in removed:
            aside = root / f".{version}.removed"
            # Left by a removal that was killed.
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(root / str(version), aside)
            shutil.rmtree(aside)
    return removed


def _is_export(root: pathlib.Path, version: int) -> bool:
    folder = root / str(version)
    return (folder / "saved_model.pb").is_file() and not folder.is_symlink()


@contextlib.contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
    """Creates the folder of a served model and waits until no other export writes to it."""
    with failure_as_user_error(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY)
    try:
        lock(handle)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def failure_as_user_error(root: pathlib.Path) -> Iterator[None]:
    """Raises `UserError` if the block fails because nothing can be written to `root`."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"--export.dir={root}: cannot write the export: {reason(error)}; choose another "
            "folder, or correct the cause"
        ) from error
