"""Files that are whole or absent: written next to, forced to disk, renamed.

Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

_REPLACED = ".old"
_BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Gives the name of a file next to `path`, and the file opened for writing.

    When the block ends, the content is on the disk. After an error the file is removed.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield temporary, file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # A full disk names no file, and the name of the temporary one helps nobody.
            error.filename = str(path)
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Renames a temporary file of `path` to it."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)
        raise
    sync_directory(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces the file at `path`; a reader sees the old or the new content, never a part."""
    with temporary_file(path) as (temporary, file):
        file.write(content)
    move_into_place(temporary, path)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of readable JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder next to `path` to fill; it takes the name `path` when the block ends
    without error.

    A folder already at `path` is replaced; after an error it is unchanged and nothing else is
    left behind.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    old = temporary.with_name(temporary.name + _REPLACED)
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        sync_folder(temporary)
        if path.exists():
            os.rename(path, old)
        os.rename(temporary, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.rename(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def clean_up(directory: Path) -> None:
    """Removes what killed processes were writing in a directory, and takes back what they were
    replacing.

    To be called if no other process writes there.
    """
    for path in directory.glob(f".*{_REPLACED}"):
        # The name is that of a temporary folder, `.NAME.RANDOM`, with the suffix.
        name = path.name.removesuffix(_REPLACED).rpartition(".")[0].removeprefix(".")
        before = directory / name
        if name and not before.exists():
            path.rename(before)
    for path in directory.glob(".*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def reason(error: Exception) -> str:
    """Why a file could not be written, without the names of TensorFlow's ops and of files next to
    the real ones.
    """
    text = getattr(error, "strerror", None) or str(error).strip().split("\n", 1)[0]
    text = re.sub(r"\{\{.*?\}\}|\[Op:\w*\]", "", text).strip()
    return text.rpartition("; ")[2] or type(error).__name__


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return sha256_of(iter(lambda: file.read(_BLOCK_BYTES), b""))


def sha256_of(blocks: Iterable[bytes]) -> str:
    """Returns the SHA-256 of all blocks together, in hexadecimal digits."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def sync_folder(path: Path) -> None:
    """Forces all that is in a folder to disk."""
    for inside in path.rglob("*"):
        (sync_directory if inside.is_dir() else _sync_file)(inside)
    sync_directory(path)


def sync_directory(path: Path) -> None:
    """Forces the names in a directory to disk: a rename is not durable before that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
