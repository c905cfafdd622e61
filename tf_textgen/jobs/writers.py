"""The two forms in which `generate` prints texts: JSON lines, or only the text."""

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
    """Prints one JSON object a line.

    Args:
      is_pair: whether prompts are sources.
      truncation_side: the side at which over-long prompts are cut.
    """

    def __init__(self, is_pair: bool, truncation_side: str) -> None:
        self._is_pair = is_pair
        self._truncation_side = truncation_side

    def __call__(self, continuation: Written) -> None:
        _note_truncated(continuation, self._truncation_side)
        fields = dataclasses.asdict(continuation)
        values = {name: value for name, value in fields.items() if value is not None}
        if self._is_pair:
            values = {"source": values.pop("prompt"), **values}
        print(json.dumps(values, ensure_ascii=False), flush=True)


class TextWriter:
    """Prints the texts, separated by a rule if one of two neighbors has several lines.

    Args:
      is_pair: whether prompts are sources, which are not printed again.
      truncation_side: the side at which over-long prompts are cut.
      has_rules: whether to print rules.
    """

    def __init__(self, is_pair: bool, truncation_side: str, *, has_rules: bool) -> None:
        self._is_pair = is_pair
        self._truncation_side = truncation_side
        self._has_rules = has_rules
        self._previous: str | None = None

    def __call__(self, continuation: Written) -> None:
        _note_truncated(continuation, self._truncation_side)
        text = continuation.text if self._is_pair else continuation.prompt + continuation.text
        if self._has_rules and self._previous is not None and "\n" in self._previous + text:
            print(RULE)
        print(text, flush=True)
        self._previous = text

    def stream(self, prompt: str, pieces: TextStream) -> None:
        """Prints one text piece by piece, without rules."""
        if not self._is_pair:
            print(prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print(flush=True)
        if pieces.completion:
            _note_truncated(pieces.completion, self._truncation_side)


def _note_truncated(continuation: Written, truncation_side: str) -> None:
    if continuation.prompt_truncated:
        print(
            f"note: the prompt {continuation.prompt[:40]!r}... does not fit in the context; its "
            f"{truncation_side} was cut",
            file=sys.stderr,
        )
