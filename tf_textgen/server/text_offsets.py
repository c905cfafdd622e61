"""The places of tokens in a text, as the logprobs of completions report them."""

from __future__ import annotations

from collections.abc import Sequence

# The text of a token that is only a part of a character.
_PART = "\ufffd"
# An incomplete character of up to this many bytes becomes one U+FFFD (Unicode, section 3.9).
_MOST_PARTS = 3


def text_offsets(text: str, tokens: Sequence[str], finish_reason: str) -> list[int]:
    """Returns the index of each token's first character in `text`.

    The texts of the tokens, one after the other, are not always the text: a tokenizer of words puts
    spaces between them, a character may be several tokens of one byte, and the text ends before a
    stop string.

    Args:
      text: as the export returns it.
      tokens: the text of each token. A token that is a part of a character has the text U+FFFD.
      finish_reason: of the export. "eos": the last token is the end token, which has no text.

    Returns:
      An index for each token. Tokens of a character in parts share its index. The index of a token
      that is not in the text is the length of the text.
    """
    ordinary = tokens[:-1] if finish_reason == "eos" else tokens
    offsets: list[int] = []
    place = 0
    while len(offsets) < len(ordinary):
        token = ordinary[len(offsets)]
        if token == _PART:
            parts = _number_of_parts(ordinary, len(offsets))
            places = _places_of_parts(text, place, parts, is_cut=finish_reason == "stop")
            offsets += places
            place = min(places[-1] + 1, len(text))
        else:
            start = _start(text, place, token)
            offsets.append(start)
            place = min(start + len(token), len(text))
    return offsets + [len(text)] * (len(tokens) - len(ordinary))


def _start(text: str, place: int, token: str) -> int:
    """Returns the index of a token that is at `place`, or behind a space that is no token."""
    is_here = text.startswith(token, place)
    if not is_here and text.startswith(" ", place) and not token.startswith(" "):
        return place + 1
    return place


def _number_of_parts(tokens: Sequence[str], first: int) -> int:
    end = first
    while end < len(tokens) and tokens[end] == _PART:
        end += 1
    return end - first


def _places_of_parts(text: str, place: int, parts: int, *, is_cut: bool) -> list[int]:
    """Returns the index of the character to which each of the next `parts` tokens belongs.

    A character of n bytes has n parts, and U+FFFD has one. If there are more parts than these
    characters have, some U+FFFD are characters of which several bytes are there.
    """
    numbers: dict[int, int] = {}
    left = parts
    end = place
    while left and end < len(text) and not text[end].isascii():
        size = 1 if text[end] == _PART else len(text[end].encode())
        numbers[end] = min(size, left)
        left -= numbers[end]
        end += 1
    if not (is_cut and end == len(text)):
        for index in numbers:
            if text[index] == _PART:
                more = min(left, _MOST_PARTS - 1)
                numbers[index] += more
                left -= more
    places = [index for index, number in numbers.items() for _ in range(number)]
    return places + [end] * left
