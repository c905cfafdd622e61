"""The output of one worker, line by line under its name."""

from __future__ import annotations

from typing import BinaryIO

_ERROR = b"error: "  # how the last words of a job begin


class PrefixedLines:
    r"""Writes whole lines alone, so that those of several workers never mix, nor a character is
    cut.

    Of a line that was drawn again and again behind carriage returns, the last state counts, as on a
    terminal.

    Args:
      prefix: written before each line.
      output: takes each batch of lines in one write.
    """

    def __init__(self, prefix: str, output: BinaryIO) -> None:
        self._prefix = prefix.encode()
        self._output = output
        self._begun = b""
        self._last = b""

    @property
    def last(self) -> str:
        """The last line that says something; one that begins with `error: ` outlives what comes
        after it.
        """
        return self._last.decode("utf-8", "replace").strip()

    def feed(self, data: bytes) -> None:
        """Takes what came, in pieces of any size."""
        *lines, begun = (self._begun + data).split(b"\n")
        self._begun = _after_return(begun)
        self._write([_after_return(line) for line in lines])

    def finish(self) -> None:
        """Writes a last line that has no end."""
        if self._begun:
            self._write([self._begun])
            self._begun = b""

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        lines = [line.rstrip(b"\r") for line in lines]
        for line in lines:
            if line.strip() and (line.startswith(_ERROR) or not self._last.startswith(_ERROR)):
                self._last = line
        self._output.write(b"".join(self._prefix + line + b"\n" for line in lines))
        self._output.flush()


def _after_return(line: bytes) -> bytes:
    """What a carriage return has not yet replaced; one at the end replaces nothing until more
    comes.
    """
    return line[line.rstrip(b"\r").rfind(b"\r") + 1 :]
