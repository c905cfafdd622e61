"""Texts given to a job, a line each: from a file, standard input, or typed."""

from __future__ import annotations

import codecs
import pathlib
import sys
from collections.abc import Iterable, Iterator

from tf_textgen.errors import UserError


def lines_of(path: str | None, flag: str) -> Iterator[str]:
    """The lines of the file at `path`, or of standard input where `path` is None.

    Raises:
      UserError: where there is no such file, or a line is not UTF-8 (named by number and byte).
    """
    if path is None:
        yield from _typed() if sys.stdin.isatty() else _decoded(sys.stdin.buffer, "standard input")
        return
    if not pathlib.Path(path).is_file():
        came = "a folder" if pathlib.Path(path).is_dir() else "no such file"
        raise UserError(f"{flag}={path}: {came}; expected a text file with one text a line")
    with open(path, "rb") as file:
        yield from _decoded(file, path)


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            yield line.rstrip(b"\r\n").decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{name}:{number}: byte {error.start} is not valid UTF-8; expected UTF-8 text") from None


def _typed() -> Iterator[str]:
    print("One text a line; end with Ctrl-D.", file=sys.stderr)
    while True:
        try:
            yield input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
