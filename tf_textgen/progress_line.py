"""Progress for people: a line that is redrawn on a terminal, lines in a file."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class ProgressLine:
    """Writes progress to a terminal or to a file, in which a line is due only every few seconds.

    Args:
      output: the stream.
      period_s: shortest time between two lines of a file, in seconds.
      starts_due: whether the first line is due at once.
    """

    def __init__(
        self, output: TextIO | None = None, *, period_s: float = 10.0, starts_due: bool = False
    ) -> None:
        self._output = output or sys.stderr
        self._period_s = period_s
        self._last_line_at = float("-inf") if starts_due else time.monotonic()
        self._drawn_length = 0
        self.is_terminal = self._output.isatty()

    def is_due(self, *, is_last: bool = False) -> bool:
        """Returns whether it is time for a line; the caller then writes one."""
        now = time.monotonic()
        if not is_last and now - self._last_line_at < self._period_s:
            return False
        self._last_line_at = now
        return True

    def draw(self, text: str) -> None:
        """Replaces the text that was drawn before; does nothing in a file."""
        if not self.is_terminal:
            return
        self._output.write("\r" + text.ljust(self._drawn_length) + ("" if text else "\r"))
        self._output.flush()
        self._drawn_length = len(text)

    def keep_drawn(self) -> None:
        """Makes the drawn text a line that stays."""
        if self._drawn_length:
            self._output.write("\n")
            self._output.flush()
            self._drawn_length = 0

    def write(self, line: str) -> None:
        """Writes a line that stays."""
        self.draw("")
        self._output.write(line + "\n")
        self._output.flush()
