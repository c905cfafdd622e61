"""Dialogues as pairs of what was said and the reply. Imports no TensorFlow.

A dialogue is a row of tab-separated turns, which its two speakers take in turn. Each reply is an example: its source is
the context, the turns before it, each a line of its own that begins with its speaker's token,

    <A> Can you find me a place to eat?
    <B> Sure. What city should I search in?
    <A> Petaluma, please.

and its target is the reply as it stands, without a token: whose it is follows from the last line. This text is also the
prompt of a trained model, whether a person types it or a client sends it: one line a turn, `<A> ` before those of the
speaker who began the dialogue, `<B> ` before the other's, newlines between them and none at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SPEAKERS = ("<A>", "<B>")
REPLIES_OF = ("both", "first", "second")


def turns_of(line: str, first_column: int) -> list[str]:
    """The turns of a row, whose leading columns before `first_column` (from 1) are none."""
    return [turn.strip() for turn in line.split("\t")[first_column - 1 :]]


def context(turns: Sequence[str], first: int = 0) -> str:
    """A line a turn under its speaker's token.

    Args:
      turns: what was said, one after the other.
      first: the place of `turns[0]` in its dialogue, which says who spoke.
    """
    return "\n".join(f"{SPEAKERS[(first + i) % 2]} {turn}".rstrip() for i, turn in enumerate(turns))


def examples(turns: Sequence[str], context_turns: int, reply_of: str) -> Iterator[tuple[str, str]]:
    """The context (empty where nothing was said in it) and the reply, for each reply of a dialogue.

    Args:
      turns: of the whole dialogue.
      context_turns: how many turns before a reply are its context, at most.
      reply_of: whose turns are replies: those of "both" (the first turn of all replies to nothing), of the "first"
        speaker or of the "second".
    """
    for place in range(1, len(turns)):
        if reply_of in ("both", REPLIES_OF[1 + place % 2]):
            first = max(0, place - context_turns)
            said = turns[first:place]
            yield context(said, first) if any(said) else "", turns[place]
