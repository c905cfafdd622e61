"""Flag files, such as recipes. Does not import TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tf_textgen.errors import UserError

_FLAG = "--flagfile"


def with_flagfile(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the lines of the flag file that the first of them names, if any.

    absl would read the file in the encoding of the locale; flag files are UTF-8.

    Raises:
      UserError: if the file cannot be read or includes itself.
    """
    if not arguments:
        return []
    name, is_joined, path = arguments[0].partition("=")
    if name.lstrip("-") != _FLAG.lstrip("-") or not name.startswith("-"):
        return list(arguments)
    if is_joined:
        return [*_lines(path, ()), *arguments[1:]]
    if len(arguments) == 1:
        raise UserError(f"{_FLAG} is empty: expected a file with one flag a line")
    return [*_lines(arguments[1], ()), *arguments[2:]]


def _lines(given: str, including: Sequence[str]) -> list[str]:
    """Returns the flags of a file; comments start with `#` or `//`, and a line may include a file.

    Args:
      given: the file.
      including: the files that include it.
    """
    path = os.path.expanduser(given.strip())
    if not path:
        return []
    if path in including:
        raise UserError(f"{_FLAG}={given}: this file includes itself; remove the flag from it")
    try:
        # Excel and editors of Windows put a byte order mark in front.
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{_FLAG}={given} is not UTF-8 ({error.reason}): expected a text file with one flag a "
            "line"
        ) from error
    except OSError as error:
        raise UserError(
            f"{_FLAG}={given}: cannot be read ({error.strerror}); expected a file with one flag a "
            "line"
        ) from error
    found = []
    for line in lines:
        if line.startswith(("--flagfile=", "-flagfile=")):
            found += _lines(line.partition("=")[2], [*including, path])
        elif line and not line.startswith(("#", "//")):
            found.append(line)
    return found
