"""Words of any text for metrics that no library's tokens fit."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Han characters and kana: scripts without spaces, in which each character counts as a word.
_SPACELESS = "\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")
_TOKEN = re.compile(rf"{_WORD.pattern}|[^\w\s]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER = re.compile(r"[^\W\d_]")


def words(text: str) -> list[str]:
    """Runs of letters and digits; each Chinese or Japanese character is one word, punctuation is
    none.
    """
    return _WORD.findall(text)


def tokens(text: str) -> list[str]:
    """`words` and, each by itself, the punctuation marks."""
    return _TOKEN.findall(text)


def is_chinese(texts: Iterable[str]) -> bool:
    """Whether most letters of `texts` are Han characters."""
    han = letters = 0
    for text in texts:
        han += len(_HAN.findall(text))
        letters += len(_LETTER.findall(text))
    return 2 * han > letters


def is_ascii(texts: Iterable[str], most_others: float = 0.01) -> bool:
    """Whether at most `most_others` of the letters are not of the English alphabet (names, signs of
    units).
    """
    others = letters = 0
    for text in texts:
        found = _LETTER.findall(text)
        letters += len(found)
        others += sum(not letter.isascii() for letter in found)
    return others <= most_others * letters
