"""Dialogues as pairs of a context and a reply. Does not import TensorFlow.

A dialogue is a row of tab-separated turns of two speakers. Each reply is an example. Its source is
the context: the turns before it, one per line, each with the token of its speaker.

    <A> Can you find me a place to eat?
    <B> Sure. What city should I search in?
    <A> Petaluma, please.

Its target is the reply without a token, since the speaker follows from the last line. The prompt of
a trained model
has the same form: `<A> ` marks the turns of the speaker who starts the dialogue, `<B> ` those of
the other speaker, newlines separate the turns, and there is no newline at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SPEAKERS = ("<A>", "<B>")
REPLIES_OF = ("both", "first", "second")


def turns_of(line: str, first_column: int) -> list[str]:
    """Returns the turns of a row, which start in column `first_column`, counted from 1."""
    return [turn.strip() for turn in line.split("\t")[first_column - 1 :]]


def context(turns: Sequence[str], first: int = 0) -> str:
    """Returns the turns, one per line, each with the token of its speaker.

    Args:
      turns: consecutive turns of a dialogue.
      first: index of `turns[0]` in its dialogue, which determines the speaker.
    """
    lines = []
    for place, turn in enumerate(turns, first):
        # A turn is one line of the context, also if it has several lines itself.
        line = " ".join(turn.splitlines())
        lines.append(f"{SPEAKERS[place % 2]} {line}".rstrip())
    return "\n".join(lines)


def examples(turns: Sequence[str], context_turns: int, reply_of: str) -> Iterator[tuple[str, str]]:
    """Yields the context and the reply, for each reply of a dialogue.

    The context is empty if its turns are.

    Args:
      turns: of the whole dialogue.
      context_turns: largest number of turns in a context.
      reply_of: the speaker whose turns are replies: "both", "first" or "second". The first turn of
        a dialogue is never a reply.
    """
    for place in range(1, len(turns)):
        speaker = REPLIES_OF[1 + place % 2]
        if reply_of not in ("both", speaker):
            continue
        first = max(0, place - context_turns)
        before = turns[first:place]
        yield context(before, first) if any(before) else "", turns[place]
