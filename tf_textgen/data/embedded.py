"""Corpora that are made on this machine, as ordinary files in a cache folder.

`python_docs` is the help of the interpreter on the language, one topic per file. Another Python
version has another text, so the name of its folder contains the checksum of the text. `grammar`
consists of pairs that `text.english_chinese` generates; `grammar_small` has two words of each class
and one clause per sentence. `copy` consists of random strings and
the same strings again: a model with a wrong mask, shift or cache cannot learn it completely.

Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import shutil
import string
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tf_textgen import atomic_files
from tf_textgen.data.python_docs import python_topics
from tf_textgen.errors import UserError
from tf_textgen.text import english_chinese

PAIR_COUNTS = {"train": 40_000, "valid": 2_000, "test": 2_000}
PAIR_SEEDS = {"train": 1, "valid": 2, "test": 3}
COPY_LENGTHS = (1, 10)
GRAMMARS: Mapping[str, dict[str, Any]] = {
    "grammar": {},
    "grammar_small": {"words_per_class": 2, "start": "SHORT"},
}
_CHECKSUMS = "SHA256SUMS"


class _Corpus(NamedTuple):
    """A corpus that can be made.

    Attributes:
      version: changes with the content.
      make: returns name of a file -> its text. The name starts with that of its split.
    """

    version: str
    make: Callable[[], Mapping[str, str]]


def write(name: str, cache_dir: str) -> dict[str, tuple[str, ...]]:
    """Writes an embedded corpus unless it is complete already.

    Args:
      name: python_docs, grammar, grammar_small or copy.
      cache_dir: the files are written to its folder `corpora/NAME-VERSION/`.

    Returns:
      Split -> paths.

    Raises:
      UserError: if the folder cannot be written.
    """
    corpus = _MAKERS[name]()
    folder = os.path.join(os.path.expanduser(cache_dir), "corpora", f"{name}-{corpus.version}")
    if not _is_complete(folder):
        try:
            _write_folder(folder, corpus.make())
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror or error}; choose another folder with "
                "--data.cache_dir"
            ) from error
    paths: dict[str, list[str]] = {split: [] for split in PAIR_COUNTS}
    for file in _checksums(folder):
        split = file.split(".")[0].split("/")[0]
        paths[split].append(os.path.join(folder, file))
    return {split: tuple(found) for split, found in paths.items()}


def grammar_nats_per_token(name: str, split: str) -> float:
    """Returns the entropy of the targets of a grammar, given the sources, per character or end of a
    target.

    It is measured on the pairs of a split. No model can have a lower loss on average; on one split,
    chance changes it by about a percent.

    Args:
      name: grammar or grammar_small.
      split: train, valid or test.

    Returns:
      Nats per token of a character model.
    """
    grammar = english_chinese.grammar(**GRAMMARS[name])
    return grammar.nats_per_token(grammar.sample(PAIR_COUNTS[split], PAIR_SEEDS[split]), len)


def _python_docs() -> _Corpus:
    texts = {}
    for split, topics in python_topics().items():
        for topic, text in topics.items():
            texts[f"{split}/{topic}.txt"] = text
    return _Corpus(_version(repr(sorted(texts.items()))), lambda: texts)


def _grammar(name: str) -> _Corpus:
    grammar = english_chinese.grammar(**GRAMMARS[name])

    def make() -> dict[str, str]:
        texts = {}
        for split, count in PAIR_COUNTS.items():
            pairs = grammar.sample(count, PAIR_SEEDS[split])
            texts[f"{split}.tsv"] = "".join(f"{source}\t{target}\n" for source, target in pairs)
        return texts

    return _Corpus(_version(repr((grammar.rules, grammar.start, PAIR_COUNTS, PAIR_SEEDS))), make)


def _copy() -> _Corpus:
    def make() -> dict[str, str]:
        return {f"{split}.tsv": "".join(_copy_rows(split)) for split in PAIR_COUNTS}

    return _Corpus(_version(repr((COPY_LENGTHS, PAIR_COUNTS, PAIR_SEEDS))), make)


def _copy_rows(split: str) -> Iterator[str]:
    draw = random.Random(PAIR_SEEDS[split])
    for _ in range(PAIR_COUNTS[split]):
        text = "".join(draw.choices(string.ascii_lowercase, k=draw.randint(*COPY_LENGTHS)))
        yield f"{text}\t{text}\n"


_MAKERS: Mapping[str, Callable[[], _Corpus]] = {
    "python_docs": _python_docs,
    "grammar": functools.partial(_grammar, "grammar"),
    "grammar_small": functools.partial(_grammar, "grammar_small"),
    "copy": _copy,
}


def _version(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _checksums(folder: str) -> dict[str, str]:
    """Returns name -> SHA-256 of the files that a folder should have."""
    checksums = {}
    with open(os.path.join(folder, _CHECKSUMS), encoding="utf-8") as lines:
        for line in lines:
            sha256, name = line.rstrip("\n").split("  ", 1)
            checksums[name] = sha256
    return checksums


def _is_complete(folder: str) -> bool:
    try:
        for name, sha256 in _checksums(folder).items():
            if atomic_files.sha256(os.path.join(folder, name)) != sha256:
                return False
    except OSError:
        return False
    return True


def _write_folder(folder: str, texts: Mapping[str, str]) -> None:
    """Writes all files to a temporary folder and renames it.

    If two processes do this, one of them wins and the other uses its files.
    """
    parent = os.path.dirname(folder)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(dir=parent, prefix=f".{os.path.basename(folder)}.")
    try:
        lines = []
        for name, text in sorted(texts.items()):
            path = os.path.join(temporary, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(text.encode())
            lines.append(f"{atomic_files.sha256(path)}  {name}\n")
        with open(os.path.join(temporary, _CHECKSUMS), "w", encoding="utf-8") as out:
            out.writelines(lines)
        os.chmod(temporary, 0o755)
        if os.path.exists(folder) and not _is_complete(folder):
            shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            os.rename(temporary, folder)
        if not _is_complete(folder):
            raise OSError(None, "renaming failed", folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
