"""Compressed files as streams of bytes: gzip, xz, bzip2 and Zstandard."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from tf_textgen import atomic_files
from tf_textgen.data import files
from tf_textgen.errors import UserError

_BLOCK_BYTES = 1 << 20


class _Format(NamedTuple):
    """A compressed format: its name, the extensions of its files, and their first bytes."""

    name: str
    extensions: tuple[str, ...]
    magic: bytes


_FORMATS = (
    _Format("gzip", (".gz",), b"\x1f\x8b"),
    _Format("xz", (".xz",), b"\xfd7zXZ\x00"),
    _Format("bzip2", (".bz2",), b"BZh"),
    _Format("zstd", (".zst",), b"\x28\xb5\x2f\xfd"),
)


def blocks(path: str, block_bytes: int = _BLOCK_BYTES) -> Iterator[bytes]:
    """Yields the uncompressed bytes of a file in blocks.

    The first bytes of the file determine its format, since files are often renamed.

    Raises:
      UserError: if the file cannot be read, or its extension promises another format.
    """
    try:
        with files.open_binary(path) as stored:
            stream = _uncompressed(path, stored)
            while block := stream.read(block_bytes):
                yield block
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}; expected a readable text file") from error


def text_sha256(path: str) -> str:
    """Returns the SHA-256 of the uncompressed bytes of a file; raises as `blocks`."""
    return atomic_files.sha256_of(blocks(path))


def without_extension(path: str) -> str:
    """Returns the path without the extension of a compressed format."""
    root, extension = os.path.splitext(path)
    known = any(extension.lower() in found.extensions for found in _FORMATS)
    return root if known else path


def _uncompressed(path: str, stored: Any) -> IO[bytes]:
    first = stored.peek(8)[:8]
    extension = os.path.splitext(path)[1].lower()
    for found in _FORMATS:
        if first.startswith(found.magic):
            return _open(found.name, stored)
        if extension in found.extensions and first:
            raise UserError(
                f"{path} is not a {found.name} file: expected the format of its extension; rename "
                "it or compress it again"
            )
    return stored


def _open(name: str, stored: IO[bytes]) -> IO[bytes]:
    if name == "gzip":
        return gzip.GzipFile(fileobj=stored)  # type: ignore[return-value]
    if name == "xz":
        return lzma.LZMAFile(stored)  # type: ignore[return-value]
    if name == "bzip2":
        return bz2.BZ2File(stored)  # type: ignore[return-value]
    return _open_zstd(stored)


def _open_zstd(stored: IO[bytes]) -> IO[bytes]:
    try:
        # A part of the standard library since Python 3.14.
        return importlib.import_module("compression.zstd").ZstdFile(stored)
    except ImportError:
        pass
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError as error:
        raise UserError(
            "a Zstandard file needs the package zstandard: pip install 'tf_textgen[formats]'"
        ) from error
    return zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
