"""Text files as streams of checked lines, with bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

from tf_textgen.data import compression
from tf_textgen.errors import UserError

PIECE_BYTES = 1 << 18  # a longer line is read in pieces
_BLOCK_BYTES = 1 << 20  # read and checked at once, since line by line takes five times as long
_MARK = b"\xef\xbb\xbf"  # the byte order mark in UTF-8


class Piece(NamedTuple):
    """A line, or a part of a line that is longer than `PIECE_BYTES`.

    Attributes:
      number: of the line, from 1.
      text: valid UTF-8 without the end of the line.
      begins: whether the line starts here.
      ends: whether a newline follows.
    """

    number: int
    text: bytes
    begins: bool
    ends: bool


def is_blank(text: bytes) -> bool:
    """Returns whether a text consists of Unicode white space, such as U+3000 or U+00A0."""
    rest = text.strip()
    if not rest:
        return True
    # Most texts start with an ASCII character that is not white space; only the others are decoded.
    if 0x20 < rest[0] < 0x80:
        return False
    return not rest.decode(errors="replace").strip()


class TextFile:
    """A file of UTF-8 text that is read line by line, plain or compressed.

    The end of a line is LF or CR LF, or CR if the file has no LF. A byte order mark at the start of
    a line, which joined files contain, is removed.

    Attributes:
      replaced: number of lines (or pieces) so far in which U+FFFD replaces bytes that are not
        UTF-8.
      marks: number of byte order marks so far that are inside a line.
    """

    def __init__(self, path: str, invalid_utf8: str = "error"):
        self.path = path
        self.replaced = 0
        self.marks = 0
        self._invalid_utf8 = invalid_utf8

    def pieces(self) -> Iterator[Piece]:
        """Yields every line, long ones in pieces that are cut after a space if there is one.

        Raises:
          UserError: if the file is empty, binary, not UTF-8 (unless these bytes are replaced) or
            cannot be read.
        """
        number = 1
        offset = 0
        begins = True
        for block in self._whole_lines():
            is_clean = _is_clean(block)
            has_marks = _MARK in block
            for raw in _split(block):
                ends = raw.endswith(b"\n")
                text = raw[:-1].removesuffix(b"\r") if ends else raw
                if has_marks:
                    text = self._without_marks(text, begins)
                if not is_clean:
                    first = raw.index(text) if text else 0
                    text = self._checked(text, number, offset + first)
                yield Piece(number, text, begins, ends)
                offset += len(raw)
                number += ends
                begins = ends
        if offset == 0:
            raise UserError(f"{self.path} is empty: expected text; check the file or leave it out")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yields the number and the text of every line."""
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

    def _whole_lines(self) -> Iterator[bytes]:
        """Yields blocks of whole lines, and parts of a line of at least `PIECE_BYTES`."""
        rest = b""
        for block in self._blocks():
            lines, newline, block = block.rpartition(b"\n")
            if newline:
                yield rest + lines + newline
                rest = b""
            rest += block
            while len(rest) >= PIECE_BYTES:
                cut = _safe_cut(rest[:PIECE_BYTES])
                yield rest[:cut]
                rest = rest[cut:]
        if rest:
            yield rest

    def _blocks(self) -> Iterator[bytes]:
        """Yields the uncompressed bytes; in a file with CR as its only end of a line, LF replaces
        it.
        """
        only_cr = None
        for block in compression.blocks(self.path, _BLOCK_BYTES):
            if only_cr is None:
                only_cr = b"\r" in block and b"\n" not in block
            yield block.replace(b"\r", b"\n") if only_cr else block

    def _without_marks(self, text: bytes, begins: bool) -> bytes:
        while begins and text.startswith(_MARK):
            text = text[len(_MARK) :]
        self.marks += text.count(_MARK)
        return text

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


def _is_clean(block: bytes) -> bool:
    """Returns whether every line of the block is UTF-8 without NUL."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in block


def _split(block: bytes) -> Iterator[bytes]:
    """Yields lines with their newlines, long ones in pieces."""
    for line in io.BytesIO(block):
        while len(line) - line.endswith(b"\n") >= PIECE_BYTES:
            cut = _safe_cut(line[:PIECE_BYTES])
            yield line[:cut]
            line = line[cut:]
        yield line


def _safe_cut(piece: bytes) -> int:
    """Returns the place to cut a piece: after a space, else before a code point.

    The rest is not empty.
    """
    space = piece.rfind(b" ", len(piece) // 2, len(piece) - 1)
    if space >= 0:
        return space + 1
    cut = len(piece) - 1
    while piece[cut] & 0xC0 == 0x80 and len(piece) - cut < 4:
        cut -= 1
    return cut
