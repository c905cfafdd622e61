"""A typed dialogue with a model of dialogues. Does not import TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_textgen.data import dialogues
from tf_textgen.data.data_config import DataConfig


class Conversation:
    """Keeps what was said, and writes of it the prompt that the model was trained on.

    The person begins, as the speaker to whom the model replied in training.

    Args:
      data: of the run: how many turns are a context, and whose turns the model learnt.
    """

    def __init__(self, data: DataConfig) -> None:
        self._context_turns = data.context_turns
        self._first = 1 if data.reply_of == "first" else 0  # the place of the person's first turn
        self._turns: list[str] = []

    def prompt(self, line: str) -> str:
        """The prompt after the person has said `line`."""
        self._turns.append(line.strip())
        said = self._turns[-self._context_turns :]
        return dialogues.context(said, self._first + len(self._turns) - len(said))

    def replied(self, reply: str) -> None:
        """Takes down the model's turn, which is one line as in the data."""
        self._turns.append(" ".join(reply.split()))

    def forget(self) -> None:
        """Begins anew."""
        self._turns.clear()


def conversation_of(config: Mapping[str, Any]) -> Conversation | None:
    """A conversation with the run (or export) of this `config.json`; None if it did not learn
    dialogues.
    """
    data = config.get("data") or {}
    return Conversation(DataConfig.from_json(data)) if data.get("format") == "dialogue" else None
