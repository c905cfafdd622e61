"""How `generate` writes texts: as JSON lines, or bare."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tf_textgen.client.rest_client import Completion, TextStream
    from tf_textgen.generator import Continuation

    Written: TypeAlias = Continuation | Completion
RULE = "---"


class JsonWriter:
    """One JSON object a line.

    Args:
      is_pair: whether texts answer sources.
      truncation_side: where over-long prompts were cut.
    """

    def __init__(self, is_pair: bool, truncation_side: str) -> None:
        self._is_pair = is_pair
        self._truncation_side = truncation_side

    def __call__(self, continuation: Written) -> None:
        _note_truncated(continuation, self._truncation_side)
        values = {
            name: value
            for name, value in dataclasses.asdict(continuation).items()
            if value is not None
        }
        if self._is_pair:
            values = {"source": values.pop("prompt"), **values}
        print(json.dumps(values, ensure_ascii=False), flush=True)


class TextWriter:
    """The bare texts: a line each, or where one of two neighbours has several lines, a rule between
    them.

    Args:
      is_pair: whether texts answer sources, which are not written again.
      truncation_side: where over-long prompts were cut.
      ruled: whether there are rules.
    """

    def __init__(self, is_pair: bool, truncation_side: str, *, ruled: bool) -> None:
        self._is_pair = is_pair
        self._truncation_side = truncation_side
        self._ruled = ruled
        self._previous: str | None = None

    def __call__(self, continuation: Written) -> None:
        _note_truncated(continuation, self._truncation_side)
        text = continuation.text if self._is_pair else continuation.prompt + continuation.text
        if self._ruled and self._previous is not None and "\n" in self._previous + text:
            print(RULE)
        print(text, flush=True)
        self._previous = text

    def stream(self, prompt: str, pieces: TextStream) -> None:
        """Writes one text as it comes, without rules."""
        print("" if self._is_pair else prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print(flush=True)
        if pieces.completion:
            _note_truncated(pieces.completion, self._truncation_side)


def _note_truncated(continuation: Written, truncation_side: str) -> None:
    if continuation.prompt_truncated:
        print(
            f"note: the prompt {continuation.prompt[:40]!r}... is longer than the room of the "
            f"context; its {truncation_side} was cut",
            file=sys.stderr,
        )
