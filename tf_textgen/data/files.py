"""Files by name: globs, local and remote paths, digests."""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

from tf_textgen.errors import UserError

_BLOCK_BYTES = 1 << 20


def expand(patterns: Sequence[str], flag: str) -> list[str]:
    """Returns the files that `patterns` name, in the order of the patterns and sorted within each.

    A file with two names, for example a symbolic link, is read once, and a note reports it.

    Args:
      patterns: paths or globs.
      flag: name of the flag, for messages.

    Raises:
      UserError: if a pattern names no file, a folder or a pipe, or a file system that cannot be
        reached.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in _matches(pattern, flag):
            identity = path if is_remote(path) else os.path.realpath(path)
            first = found.setdefault(identity, path)
            if first != path:
                _report_once(
                    f"note: --{flag}: {first} and {path} are the same file; it is read once"
                )
    return list(found.values())


def open_binary(path: str) -> IO[bytes]:
    """Opens a local or remote file for reading the stored bytes."""
    if not is_remote(path):
        return open(path, "rb")
    return io.BufferedReader(_RemoteFile(path))


def digest(path: str) -> dict[str, Any]:
    """Returns name, size and SHA-256 of the stored bytes of a file."""
    sha256 = hashlib.sha256()
    size = 0
    try:
        with open_binary(path) as stream:
            while block := stream.read(_BLOCK_BYTES):
                sha256.update(block)
                size += len(block)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}; expected a readable file"
        ) from error
    return {"name": os.path.basename(path), "size": size, "sha256": sha256.hexdigest()}


def is_remote(path: str) -> bool:
    """Returns whether `path` is in a file system that TensorFlow reaches by scheme,
    such as gs://.
    """
    return "://" in path


@functools.cache
def _report_once(note: str) -> None:
    """Prints a note on standard error, once in a process: the files of a run are looked up several
    times.
    """
    print(note, file=sys.stderr)


def _matches(pattern: str, flag: str) -> list[str]:
    try:
        paths = _glob(pattern)
        for path in paths:
            _check_kind(path, pattern, flag)
    except OSError as error:
        raise UserError(
            f"--{flag}={pattern}: cannot be looked up ({error.strerror}); expected a path or glob "
            "of existing files, local or in a file system TensorFlow knows, such as gs://"
        ) from error
    if not paths:
        raise UserError(
            f"--{flag}={pattern}: no such file; expected a path or glob of existing files"
        )
    return paths


def _check_kind(path: str, pattern: str, flag: str) -> None:
    """Raises `UserError` unless `path` is an ordinary file."""
    if is_remote(path):
        with _remote_errors():
            is_folder = _gfile().isdir(path)
        is_stream = False
    else:
        mode = os.stat(path).st_mode
        is_folder = stat.S_ISDIR(mode)
        is_stream = not is_folder and not stat.S_ISREG(mode)
    if is_folder:
        raise UserError(
            f"--{flag}={pattern}: {path} is a folder, expected files; give for example {path}/*.txt"
        )
    if is_stream:
        raise UserError(
            f"--{flag}={pattern}: {path} is a pipe or device, expected a file, since it is read "
            "more than once; write the text to a file first"
        )


def _glob(pattern: str) -> list[str]:
    if is_remote(pattern):
        with _remote_errors():
            return sorted(_gfile().glob(pattern))
    expanded = os.path.expanduser(pattern)
    # A name that contains brackets is first of all a name.
    if os.path.exists(expanded):
        return [expanded]
    return sorted(glob.glob(expanded, recursive=True))


class _RemoteFile(io.RawIOBase):
    """A file of `tf.io.gfile` as a raw stream for `io.BufferedReader`; its errors are `OSError`."""

    def __init__(self, path: str):
        self._file = _gfile().GFile(path, "rb")  # opened by the first read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _remote_errors():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def _remote_errors() -> Iterator[None]:
    """Raises the errors of TensorFlow's file systems as `OSError` with one line."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        # Errors of ram:// have no message.
        line = " ".join(error.message.split()) or type(error).__name__
        raise OSError(None, line) from error


def _gfile() -> Any:
    import tensorflow as tf  # only remote paths need it

    return tf.io.gfile
