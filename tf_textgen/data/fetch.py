"""Downloads with checks: next to the destination, by SHA-256, renamed when whole.

Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import IO

from tf_textgen.data import compression
from tf_textgen.errors import UserError

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_USER_AGENT = "tf_textgen"  # some hosts refuse urllib's own name


def download(url: str, sha256: str, folder: str) -> str:
    """Downloads `url` (http, https or file) to a temporary file in `folder`.

    Returns:
      The path; the caller removes or renames it.

    Raises:
      UserError: no answer, an unknown scheme, a full disk or another checksum. Nothing is left
        behind then.
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
    """One file of a zip archive as a stream of bytes; `UserError` if it is not in there."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
            yield stream
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"a downloaded archive has no readable {member} ({error}): expected a zip with it"
        ) from error


@contextlib.contextmanager
def written_beside(path: str, keep: bool = False) -> Iterator[tuple[str, IO[bytes]]]:
    """A temporary file next to `path` to write to: renamed to `path` if all goes well, removed
    otherwise.

    Args:
      path: the destination; its folder is made.
      keep: leave the temporary file under its own name instead, for the caller to use.

    Yields:
      The temporary file's path, and the file opened for writing.
    """
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=folder, prefix=f".{os.path.basename(path)}.", suffix=".part"
        )
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}): expected a folder with write access"
        ) from error
    try:
        with open(handle, "wb") as out:
            yield temporary, out
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        if not keep:
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError) and not isinstance(error, urllib.error.URLError):
            raise UserError(
                f"{path} cannot be written ({error.strerror or error}): expected room on the disk"
            ) from error
        raise


def copy_span(source: str, span: tuple[int, int], path: str, sha256: str) -> None:
    """Writes the bytes from `span[0]` up to `span[1]` of a file to `path`, checked like
    `copy_stream`.
    """
    with open(source, "rb") as stream:
        stream.seek(span[0])
        copy_stream(io.BytesIO(stream.read(span[1] - span[0])), path, sha256)


def copy_stream(source: IO[bytes], path: str, sha256: str) -> None:
    """Writes `source` to `path` at once, if its SHA-256 is the one expected."""
    with written_beside(path) as (temporary, out):
        shutil.copyfileobj(source, out, _BLOCK_BYTES)
        out.flush()
        found = compression.text_sha256(temporary)
        if found != sha256:
            raise UserError(
                f"{path}: the prepared file has SHA-256 {found}, expected {sha256}; nothing was "
                "kept"
            )
