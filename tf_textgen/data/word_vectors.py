"""Pretrained word vectors out of text files: a word and its numbers a row, separated by single spaces.

GloVe's files begin with the first word, those of word2vec and fastText with a line `count width`. Plain or .gz.

Reference: Pennington et al., "GloVe", 2014; Mikolov et al., "Distributed Representations of Words and Phrases", 2013.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from tf_textgen.data import files
from tf_textgen.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)


class WordVectors(NamedTuple):
    """What a file says of the words that were wanted."""

    vectors: dict[str, np.ndarray]  # of the wanted words that it has: `[D]` float32
    width: int  # D
    total: int  # words in the file


def read_word_vectors(path: str, wanted: Collection[str]) -> WordVectors:
    """Reads the vectors of `wanted` words; of a word that stands there twice, the first.

    Every row's form is checked, the numbers of the wanted ones too. A word may contain spaces, as some of GloVe's do,
    unless a number follows one, which makes the row one with too many numbers. Bytes that are not UTF-8 match no word.

    Raises:
      UserError: where the file is empty, cannot be read, or a row is not what was promised.
    """
    width = promised = None
    vectors: dict[str, np.ndarray] = {}
    count = 0
    for number, line in files.TextFile(path, invalid_utf8="replace").lines():
        fields = line.rstrip(b" ").split(b" ")  # word2vec ends its rows with a space
        if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            promised, width = int(fields[0]), int(fields[1])
            continue
        width = width or len(fields) - 1
        word = _word(fields, width, f"{path}:{number}")
        if word not in vectors and (word in wanted or not count):
            vectors[word] = _numbers(fields[-width:], f"{path}:{number}")
        count += 1
    if promised is not None and count != promised:
        raise UserError(
            f"{path}: {count} words, expected {promised} as its first line says; the file is cut short, get it anew"
        )
    return WordVectors(
        {word: row for word, row in vectors.items() if word in wanted}, width or 0, count
    )


def _word(fields: list[bytes], width: int, place: str) -> str:
    """The word of a row; raises `UserError` unless `width` numbers follow it."""
    extra = len(fields) - 1 - width
    if width < 1 or extra < 0 or any(map(_is_number, fields[1 : 1 + extra])):
        expected = f"{width} as the rows before" if width else "a word and its numbers"
        raise UserError(
            f"{place}: {len(fields) - 1} values after {fields[0].decode()[:40]!r}, expected {expected}; correct the "
            "row or take another file"
        )
    return b" ".join(fields[: 1 + extra]).decode()


def _numbers(fields: list[bytes], place: str) -> np.ndarray:
    for field in fields:
        if not _is_number(field):
            raise UserError(
                f"{place}: {field.decode()[:40]!r}: expected a finite number; correct the row or take another file"
            )
    return np.array([float(field) for field in fields], np.float32)


def _is_number(field: bytes) -> bool:
    try:
        return abs(float(field)) <= _LARGEST  # not so for inf and nan
    except ValueError:
        return False
