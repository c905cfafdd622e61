"""The lines of text that a job reads: from a file, from standard input, or typed.

Does not import TensorFlow.
"""

from __future__ import annotations

import codecs
import pathlib
import sys
from collections.abc import Iterable, Iterator

from tf_textgen.config import unescape
from tf_textgen.errors import UserError

LINES_HINT = "One text a line; end with Ctrl-D."
DIALOGUE_HINT = (
    "One turn of the dialogue a line; an empty line starts a new dialogue; end with Ctrl-D."
)


def lines_of(
    path: str | None, flag: str, *, hint: str = LINES_HINT, escapes: bool = False
) -> Iterator[str]:
    """Yields the lines of the file at `path`, or of standard input if `path` is None.

    Args:
      path: the file.
      flag: the flag that named it, for errors.
      hint: printed if a person types the lines.
      escapes: whether backslash escapes are read (see `config.unescape`), so that one line can hold
        several.

    Raises:
      UserError: if there is no such file, or a line is not UTF-8 or has an unknown escape; the
        message has its number.
    """
    name = path or "standard input"
    is_typed = path is None and is_terminal()
    lines = _typed(hint) if is_typed else _read(path, flag, name)
    for number, line in enumerate(lines, start=1):
        yield unescape(f"{name}:{number}", line) if escapes else line


def is_terminal() -> bool:
    """Returns whether a person types the standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def _read(path: str | None, flag: str, name: str) -> Iterator[str]:
    if path is None:
        if sys.stdin is None:
            raise UserError(
                f"no text: standard input is closed; expected lines there, or {flag}=FILE"
            )
        yield from _decoded(sys.stdin.buffer, name)
        return
    if not pathlib.Path(path).is_file():
        problem = "is a folder" if pathlib.Path(path).is_dir() else "no such file"
        raise UserError(f"{flag}={path}: {problem}; expected a text file with one text a line")
    with open(path, "rb") as file:
        yield from _decoded(file, name)


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
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
            line = input("> ")
            # Some locales read other bytes as lone surrogates, which no tensor takes.
            line.encode()
        except EOFError:
            print(file=sys.stderr)
            return
        except UnicodeError as error:
            encoding = sys.stdin.encoding
            raise UserError(
                f"standard input: the typed line is not valid {encoding}; expected text in the "
                "encoding of the terminal"
            ) from error
        yield line
