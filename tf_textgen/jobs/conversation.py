"""A typed dialogue with a model of dialogues. Does not import TensorFlow."""

from __future__ import annotations

from tf_textgen.data import dialogues
from tf_textgen.data.data_config import DataConfig


class Conversation:
    """Remembers the turns of a dialogue and makes prompts in the form of the training data.

    The person starts, as the speaker to whom the model replied in training.

    Args:
      data: the data of the run: the number of turns in a context, and whose replies it learned.
    """

    def __init__(self, data: DataConfig) -> None:
        self._context_turns = data.context_turns
        # The model replies to the speaker of the second turn if it learned the first one's replies.
        self._first_turn = 1 if data.reply_of == "first" else 0
        self._turns: list[str] = []

    def prompt(self, line: str) -> str:
        """Adds a turn of the person, and returns the prompt for the reply."""
        self._turns.append(line.strip())
        recent = self._turns[-self._context_turns :]
        forgotten = len(self._turns) - len(recent)
        return dialogues.context(recent, self._first_turn + forgotten)

    def replied(self, reply: str) -> None:
        """Adds a turn of the model, as one line like those of the data."""
        self._turns.append(" ".join(reply.split()))

    def forget(self) -> None:
        """Starts a new dialogue."""
        self._turns.clear()


def conversation_of(data: DataConfig | None) -> Conversation | None:
    """Returns a conversation with a model of this data, or None if it did not learn dialogues."""
    if data is None or data.format != "dialogue":
        return None
    return Conversation(data)
