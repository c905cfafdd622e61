"""Pretrained word vectors from text files.

A row is a word and its numbers, separated by single spaces. Files of word2vec and fastText start
with a line `count width`, files of GloVe do not. Files are plain or `.gz`.

Reference: Pennington et al., "GloVe", 2014; Mikolov et al., "Distributed Representations of Words
and Phrases", 2013.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from tf_textgen.data.text_file import TextFile
from tf_textgen.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)


class WordVectors(NamedTuple):
    """The vectors of some words.

    Attributes:
      vectors: word -> `[D]` float32, for the requested words that the file contains.
      width: D.
      total: number of words in the file.
    """

    vectors: dict[str, np.ndarray]
    width: int
    total: int


def read_word_vectors(path: str, wanted: Collection[str]) -> WordVectors:
    """Reads the vectors of the words in `wanted`. If a word occurs twice, the first vector counts.

    The form of every row is checked, and the numbers of the requested words. A word may contain
    spaces, as some words of GloVe
    do, unless a number follows the space: then the row has too many numbers. Bytes that are not
      UTF-8 match no word.

    Raises:
      UserError: if the file is empty or cannot be read, or if a row has another form or width.
    """
    width = None
    promised = None
    vectors: dict[str, np.ndarray] = {}
    count = 0
    for number, line in TextFile(path, invalid_utf8="replace").lines():
        fields = line.rstrip(b" ").split(b" ")  # word2vec ends its rows with a space
        if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            promised = int(fields[0])
            width = int(fields[1])
            continue
        width = width or len(fields) - 1
        word = _word(fields, width, f"{path}:{number}")
        if word not in vectors and (word in wanted or not count):
            vectors[word] = _numbers(fields[-width:], f"{path}:{number}")
        count += 1
    if promised is not None and count != promised:
        raise UserError(
            f"{path}: {count} words, expected {promised} as in its first line; the file is "
            "incomplete, download it again"
        )
    requested = {word: row for word, row in vectors.items() if word in wanted}
    return WordVectors(requested, width or 0, count)


def _word(fields: list[bytes], width: int, place: str) -> str:
    """Returns the word of a row; raises `UserError` unless `width` numbers follow it."""
    extra = len(fields) - 1 - width
    if width < 1 or extra < 0 or any(map(_is_number, fields[1 : 1 + extra])):
        expected = f"{width} as in the rows before" if width else "a word and its numbers"
        raise UserError(
            f"{place}: {len(fields) - 1} values after {fields[0].decode()[:40]!r}, expected "
            f"{expected}; correct the row or use another file"
        )
    return b" ".join(fields[: 1 + extra]).decode()


def _numbers(fields: list[bytes], place: str) -> np.ndarray:
    for field in fields:
        if not _is_number(field):
            raise UserError(
                f"{place}: {field.decode()[:40]!r}: expected a finite number; correct the row or "
                "use another file"
            )
    return np.array([float(field) for field in fields], np.float32)


def _is_number(field: bytes) -> bool:
    try:
        return abs(float(field)) <= _LARGEST  # False for inf and nan
    except ValueError:
        return False
