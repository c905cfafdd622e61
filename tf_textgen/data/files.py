"""Text files as streams of checked lines: local or remote, plain or .gz, never whole in memory."""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from tf_textgen.errors import UserError

PIECE_BYTES = 1 << 18  # a longer line comes in pieces
_BLOCK_BYTES = 1 << 20  # of a file, read and checked at once: line by line costs five times as long
_BOM = b"\xef\xbb\xbf"


class Piece(NamedTuple):
    """A line, or a part of a line longer than `PIECE_BYTES`."""

    number: int  # of the line, from 1
    text: bytes  # valid UTF-8 without the line's end
    begins: bool  # whether the line begins here
    ends: bool  # whether a newline followed


def expand(patterns: Sequence[str], flag: str) -> list[str]:
    """The files that `patterns` name: in the order of the patterns, sorted within each, each file
    once.

    Raises:
      UserError: if a pattern names no file, a folder, or a file system that cannot be reached.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            paths = _glob(pattern)
            folder = next(filter(_is_folder, paths), None)
        except OSError as error:
            raise UserError(
                f"--{flag}={pattern}: cannot be looked up ({error.strerror}); expected a path or "
                "glob of existing files, local or of a file system TensorFlow knows, such as gs://"
            ) from error
        if not paths:
            raise UserError(
                f"--{flag}={pattern}: no such file; expected a path or glob of existing files"
            )
        if folder is not None:
            raise UserError(
                f"--{flag}={pattern}: {folder} is a folder, expected files; write {folder}/*.txt "
                "or so"
            )
        found.update(dict.fromkeys(paths))
    return list(found)


def open_binary(path: str) -> IO[bytes]:
    """Opens a local or remote file for reading bytes."""
    if not is_remote(path):
        return open(path, "rb")
    return io.BufferedReader(_RemoteFile(path))


def digest(path: str) -> dict[str, Any]:
    """Name, size and SHA-256 of a file's bytes as they are stored."""
    sha256 = hashlib.sha256()
    size = 0
    try:
        with open_binary(path) as stream:
            while block := stream.read(1 << 20):
                sha256.update(block)
                size += len(block)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); expected a readable file"
        ) from error
    return {"name": os.path.basename(path), "size": size, "sha256": sha256.hexdigest()}


def is_remote(path: str) -> bool:
    """Whether `path` is of a file system that TensorFlow reaches by scheme, such as gs://."""
    return "://" in path


class TextFile:
    """A file read line by line; line ends of CR LF become LF and a byte order mark is dropped.

    Attributes:
      replaced: number of lines (or pieces) with bytes that were not UTF-8 and became U+FFFD, so
        far.
    """

    def __init__(self, path: str, invalid_utf8: str = "error"):
        self.path = path
        self.replaced = 0
        self._invalid_utf8 = invalid_utf8

    def pieces(self) -> Iterator[Piece]:
        """Every line, the long ones in pieces cut after a space if there is one.

        Raises:
          UserError: if the file is empty, binary, not UTF-8 (unless these bytes are replaced) or
            unreadable.
        """
        number = 1
        offset = 0
        begins = True
        for block in self._blocks():
            clean = _is_clean(block)
            for raw in _split(block):
                mark = len(_BOM) if offset == 0 and raw.startswith(_BOM) else 0
                ends = raw.endswith(b"\n")
                text = raw[mark:-1].removesuffix(b"\r") if ends else raw[mark:]
                yield Piece(
                    number,
                    text if clean else self._checked(text, number, offset + mark),
                    begins,
                    ends,
                )
                offset += len(raw)
                number = number + ends
                begins = ends
        if offset == 0:
            raise UserError(f"{self.path} is empty: expected text; check the file or leave it out")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Number and text of every line, whole."""
        held: list[bytes] = []
        number = 0
        for piece in self.pieces():
            number = piece.number
            held.append(piece.text)
            if piece.ends:
                yield number, b"".join(held)
                held = []
        if held:
            yield number, b"".join(held)

    def _blocks(self) -> Iterator[bytes]:
        """The bytes of the file in whole lines, and those of a line of at least `PIECE_BYTES` in
        parts of it.
        """
        try:
            with open_binary(self.path) as stored:
                stream: Any = gzip.GzipFile(fileobj=stored) if self.path.endswith(".gz") else stored
                rest = b""
                while read := stream.read(_BLOCK_BYTES):
                    lines, newline, read = read.rpartition(b"\n")
                    if newline:
                        yield rest + lines + newline
                        rest = b""
                    rest += read
                    while len(rest) >= PIECE_BYTES:
                        cut = _safe_cut(rest[:PIECE_BYTES])
                        yield rest[:cut]
                        rest = rest[cut:]
                if rest:
                    yield rest
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{self.path}: cannot be read ({reason}); expected a readable text file"
            ) from error

    def _checked(self, text: bytes, number: int, offset: int) -> bytes:
        if b"\0" in text:
            raise UserError(
                f"{self.path}:{number}: a NUL byte at byte offset {offset + text.index(0)}: "
                "expected UTF-8 text, this is binary data or UTF-16; convert it or leave the file "
                "out"
            )
        try:
            text.decode()
        except UnicodeDecodeError as error:
            if self._invalid_utf8 == "error":
                raise UserError(
                    f"{self.path}:{number}: invalid UTF-8 at byte offset {offset + error.start} "
                    f"(0x{text[error.start]:02x}): expected UTF-8; convert the file (iconv) or set "
                    "--data.invalid_utf8=replace"
                ) from error
            self.replaced += 1
            return text.decode(errors="replace").encode()
        return text


class _RemoteFile(io.RawIOBase):
    """A file of `tf.io.gfile` as a raw stream, for `io.BufferedReader`; its errors are
    `OSError`s.
    """

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


def _is_clean(block: bytes) -> bool:
    """Whether every line of it would pass `TextFile._checked`."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in block


def _split(block: bytes) -> Iterator[bytes]:
    """Lines with their newlines, the long ones in pieces."""
    for line in io.BytesIO(block):
        while len(line) - line.endswith(b"\n") >= PIECE_BYTES:
            cut = _safe_cut(line[:PIECE_BYTES])
            yield line[:cut]
            line = line[cut:]
        yield line


def _safe_cut(piece: bytes) -> int:
    """Where to cut a piece so that the rest is not empty: after a space, else before a
    code point.
    """
    space = piece.rfind(b" ", len(piece) // 2, len(piece) - 1)
    if space >= 0:
        return space + 1
    cut = len(piece) - 1
    while piece[cut] & 0xC0 == 0x80 and len(piece) - cut < 4:
        cut -= 1
    return cut


def _glob(pattern: str) -> list[str]:
    if is_remote(pattern):
        with _remote_errors():
            return sorted(_gfile().glob(pattern))
    if os.path.exists(os.path.expanduser(pattern)):  # a name with brackets in it is a name first
        return [os.path.expanduser(pattern)]
    return sorted(glob.glob(os.path.expanduser(pattern), recursive=True))


def _is_folder(path: str) -> bool:
    if not is_remote(path):
        return os.path.isdir(path)
    with _remote_errors():
        return _gfile().isdir(path)


@contextlib.contextmanager
def _remote_errors() -> Iterator[None]:
    """TensorFlow's errors of its file systems as `OSError`s of one line."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        line = (
            " ".join(error.message.split()) or type(error).__name__
        )  # that of ram:// has no message
        raise OSError(None, line) from error


def _gfile() -> Any:
    import tensorflow as tf  # only remote paths need it

    return tf.io.gfile
