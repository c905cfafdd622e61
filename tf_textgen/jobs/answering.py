"""Prompts in, printed texts out, with any model: batches, single typed prompts or a dialogue.

Does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from tf_textgen.jobs.conversation import Conversation
from tf_textgen.jobs.writers import JsonWriter, TextWriter

if TYPE_CHECKING:
    from tf_textgen.client.rest_client import TextStream
    from tf_textgen.data.data_config import DataConfig
    from tf_textgen.jobs.writers import Written


class AnsweringModel(NamedTuple):
    """A run, an export or a model on a server, with its decoding parameters.

    Attributes:
      generate: texts of prompts or sources.
      is_pair: whether prompts are sources.
      truncation_side: the side at which over-long prompts are cut.
      data: the data that the model learned; None if it is not known.
      stream: one text piece by piece; None if the model cannot.
    """

    generate: Callable[[Sequence[str]], Sequence[Written]]
    is_pair: bool
    truncation_side: str
    data: DataConfig | None
    stream: Callable[[str], TextStream] | None = None


def answer_batches(
    model: AnsweringModel,
    prompts: Iterator[str],
    writer: JsonWriter | TextWriter,
    *,
    batch_size: int,
) -> None:
    while batch := list(islice(prompts, batch_size)):
        for continuation in model.generate(batch):
            writer(continuation)


def answer_typed(
    model: AnsweringModel, prompts: Iterator[str], writer: JsonWriter | TextWriter
) -> None:
    """Answers each prompt before the next one is read, piece by piece if possible."""
    if model.stream is None or isinstance(writer, JsonWriter):
        answer_batches(model, prompts, writer, batch_size=1)
        return
    for prompt in prompts:
        writer.stream(prompt, model.stream(prompt))


def converse(
    model: AnsweringModel,
    conversation: Conversation,
    lines: Iterator[str],
    writer: JsonWriter | TextWriter,
) -> None:
    """Replies to one typed turn after the other. The first of several samples is remembered."""
    for line in lines:
        if not line.strip():
            conversation.forget()
            continue
        replies = model.generate([conversation.prompt(line)])
        for reply in replies:
            writer(reply)
        conversation.replied(replies[0].text)
