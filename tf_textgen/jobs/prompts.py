"""Texts given to a job, a line each: from a file, standard input, or typed."""

from __future__ import annotations

import codecs
import pathlib
import sys
from collections.abc import Iterable, Iterator

from tf_textgen.config import unescape
from tf_textgen.errors import UserError

LINES_HINT = "One text a line; end with Ctrl-D."
DIALOGUE_HINT = "A turn of the dialogue a line; an empty line begins a new one; end with Ctrl-D."


def lines_of(
    path: str | None, flag: str, *, hint: str = LINES_HINT, escapes: bool = False
) -> Iterator[str]:
    """The lines of the file at `path`, or of standard input if `path` is None.

    Args:
      path: of a file.
      flag: that named it.
      hint: what a person who types is reported.
      escapes: whether backslash escapes are read (see `config.unescape`), so that a line may stand
        for several.

    Raises:
      UserError: if there is no such file, or a line is not UTF-8 (named by number and byte) or
        has a bad escape.
    """
    typed = path is None and sys.stdin is not None and sys.stdin.isatty()
    name = path or "standard input"
    for number, line in enumerate(_typed(hint) if typed else _read(path, flag, name), 1):
        yield unescape(f"{name}:{number}", line) if escapes else line


def _read(path: str | None, flag: str, name: str) -> Iterator[str]:
    if path is None and sys.stdin is None:
        raise UserError(
            f"no text came: standard input is closed; expected lines there, or {flag}=FILE"
        )
    if path is None:
        yield from _decoded(sys.stdin.buffer, name)
        return
    if not pathlib.Path(path).is_file():
        came = "a folder" if pathlib.Path(path).is_dir() else "no such file"
        raise UserError(f"{flag}={path}: {came}; expected a text file with one text a line")
    with open(path, "rb") as file:
        yield from _decoded(file, name)


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            yield line.rstrip(b"\r\n").decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}: byte {error.start} is not valid UTF-8; expected UTF-8 text"
            ) from None


def _typed(hint: str) -> Iterator[str]:
    print(hint, file=sys.stderr)
    while True:
        try:
            yield input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
