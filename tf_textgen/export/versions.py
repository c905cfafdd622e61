"""The folder of a served model: its numbered versions, one writer at a time, and old versions that
go.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

import tensorflow as tf

from tf_textgen.atomic_files import reason
from tf_textgen.errors import UserError
from tf_textgen.export.version_folders import version_number


def version_numbers(root: pathlib.Path) -> list[int]:
    """The versions in a served model's folder, ascending."""
    numbers = (version_number(entry.name) for entry in root.glob("*")) if root.is_dir() else ()
    return sorted(number for number in numbers if number is not None)


def remove_old_versions(root: pathlib.Path, written: int, keep: int) -> list[int]:
    """Removes all versions but the one just written, the newest, and the `keep` newest of all
    others.

    A version disappears under another name before its files do: a server never sees a part of it. A
    folder that holds no SavedModel, and one that stands elsewhere, are left alone.

    Returns:
      The versions that are gone, ascending.
    """
    with locked(root):
        folders = [root / str(version) for version in version_numbers(root)]
        whole = [
            folder
            for folder in folders
            if (folder / "saved_model.pb").is_file() and not folder.is_symlink()
        ]
        old = [
            int(folder.name)
            for folder in whole
            if folder.name not in (str(written), whole[-1].name)
        ]
        gone = old[: max(len(old) - keep, 0)]
        for version in gone:
            aside = root / f".{version}.removed"
            shutil.rmtree(aside, ignore_errors=True)  # of a removal that was killed
            os.rename(root / str(version), aside)
            shutil.rmtree(aside)
    return gone


@contextlib.contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
    """Makes the folder of a served model and lets one export after the other write there."""
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(root: pathlib.Path) -> Iterator[None]:
    """Raises `UserError` where what is done in the block fails because the folder takes
    no export.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"--export.dir={root}: cannot be written ({reason(error)}); expected a folder with "
            "room for the export; make room or name another"
        ) from error
