"""Downloads that are verified by SHA-256 and renamed when they are complete.

Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import pathlib
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import IO

from tf_textgen import atomic_files
from tf_textgen.data import compression
from tf_textgen.errors import UserError

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_USER_AGENT = "tf_textgen"  # some hosts refuse urllib's own name


def download(url: str, sha256: str, folder: str) -> str:
    """Downloads `url` (http, https or file) to a temporary file in `folder`.

    Returns:
      The path of the file, which the caller removes or renames.

    Raises:
      UserError: if there is no answer, the scheme is unknown, the disk is full, or the checksum
        differs. Nothing is kept then.
    """
    if url.split(":")[0] not in ("http", "https", "file"):
        raise UserError(f"{url}: expected an address that begins with http://, https:// or file://")
    with written_beside(os.path.join(folder, "download"), keep=True) as (path, out):
        digest = hashlib.sha256()
        try:
            request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                while block := answer.read(_BLOCK_BYTES):
                    digest.update(block)
                    out.write(block)
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            TimeoutError,
            ConnectionError,
        ) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"{url} cannot be downloaded ({reason}): expected an answer; check the network"
            ) from error
        if digest.hexdigest() != sha256:
            raise UserError(
                f"{url} has SHA-256 {digest.hexdigest()}, expected {sha256}: the file there has "
                "changed or was cut off; nothing was kept"
            )
    return path


@contextlib.contextmanager
def open_member(archive: str, member: str) -> Iterator[IO[bytes]]:
    """Opens one file of a zip archive as a stream of bytes; raises `UserError` if it is missing."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
            yield stream
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"a downloaded archive has no readable {member} ({error}): expected a zip archive with "
            "it"
        ) from error


@contextlib.contextmanager
def written_beside(path: str, keep: bool = False) -> Iterator[tuple[str, IO[bytes]]]:
    """Opens a temporary file that becomes `path` when the block ends, and is removed after an
    error.

    Args:
      path: the destination. Its folder is created.
      keep: whether the temporary file keeps its own name, for the caller to use.

    Yields:
      The path of the temporary file, and the file opened for writing.
    """
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; choose a folder that you can write to"
        ) from error
    try:
        with atomic_files.temporary_file(pathlib.Path(path)) as (temporary, out):
            yield str(temporary), out
        if not keep:
            atomic_files.move_into_place(temporary, pathlib.Path(path))
    except OSError as error:
        if isinstance(error, urllib.error.URLError):
            raise
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; make room on the disk"
        ) from error


def copy_span(source: str, span: tuple[int, int], path: str, sha256: str) -> None:
    """Writes the bytes `[span[0], span[1])` of a file to `path`, verified as in `copy_stream`."""
    with open(source, "rb") as stream:
        stream.seek(span[0])
        copy_stream(io.BytesIO(stream.read(span[1] - span[0])), path, sha256)


def copy_stream(source: IO[bytes], path: str, sha256: str) -> None:
    """Writes `source` to `path` if its SHA-256 is the expected one."""
    with written_beside(path) as (temporary, out):
        shutil.copyfileobj(source, out, _BLOCK_BYTES)
        out.flush()
        found = compression.text_sha256(temporary)
        if found != sha256:
            raise UserError(
                f"{path}: the prepared file has SHA-256 {found}, expected {sha256}; nothing was "
                "kept"
            )
