"""The corpora that every machine has: written once into a cache folder as ordinary files. Imports
no TensorFlow.

`python_docs` is the interpreter's own help on the language, one topic a file. Another Python
version has another text, so the name of its folder contains the checksum of the text. `grammar` is
pairs written by `text.english_chinese`; `grammar_small` has two
words of each class and one clause a sentence. `copy` is random strings and the same strings again:
a model that masks, shifts or caches wrongly cannot learn it completely.
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
from typing import Any

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


def write(name: str, cache_dir: str) -> dict[str, tuple[str, ...]]:
    """Writes an embedded corpus unless it is there whole.

    Args:
      name: python_docs, grammar, grammar_small or copy.
      cache_dir: the files come to lie in `corpora/NAME-VERSION/` in it.

    Returns:
      Split -> paths.

    Raises:
      UserError: the folder cannot be written.
    """
    version, make = _MAKERS[name]()
    folder = os.path.join(os.path.expanduser(cache_dir), "corpora", f"{name}-{version}")
    if not _is_whole(folder):
        try:
            _write_folder(folder, make())
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error.strerror or error}): expected a folder with "
                "write access and room; set --data.cache_dir"
            ) from error
    with open(os.path.join(folder, _CHECKSUMS), encoding="utf-8") as lines:
        names = [line.rstrip("\n").split("  ", 1)[1] for line in lines]
    return {
        split: tuple(
            os.path.join(folder, file)
            for file in names
            if file.split(".")[0].split("/")[0] == split
        )
        for split in PAIR_COUNTS
    }


def grammar_nats_per_token(name: str, split: str) -> float:
    """What the grammar that wrote a split's pairs needs for a character of a target, or its end,
    given the source.

    No model can need less on the average; on one split chance moves it by about a percent.

    Args:
      name: grammar or grammar_small.
      split: train, valid or test.
    """
    grammar = english_chinese.grammar(**GRAMMARS[name])
    return grammar.nats_per_token(grammar.sample(PAIR_COUNTS[split], PAIR_SEEDS[split]), len)


def _python_docs() -> tuple[str, Callable[[], Mapping[str, str]]]:
    texts = {
        f"{split}/{topic}.txt": text
        for split, found in python_topics().items()
        for topic, text in found.items()
    }
    return _version(repr(sorted(texts.items()))), lambda: texts


def _grammar(name: str) -> tuple[str, Callable[[], Mapping[str, str]]]:
    grammar = english_chinese.grammar(**GRAMMARS[name])

    def make() -> dict[str, str]:
        return {
            f"{split}.tsv": "".join(
                f"{source}\t{target}\n"
                for source, target in grammar.sample(count, PAIR_SEEDS[split])
            )
            for split, count in PAIR_COUNTS.items()
        }

    return _version(repr((grammar.rules, grammar.start, PAIR_COUNTS, PAIR_SEEDS))), make


def _copy() -> tuple[str, Callable[[], Mapping[str, str]]]:
    def make() -> dict[str, str]:
        return {f"{split}.tsv": "".join(_copy_rows(split)) for split in PAIR_COUNTS}

    return _version(repr((COPY_LENGTHS, PAIR_COUNTS, PAIR_SEEDS))), make


def _copy_rows(split: str) -> Iterator[str]:
    draw = random.Random(PAIR_SEEDS[split])
    for _ in range(PAIR_COUNTS[split]):
        text = "".join(draw.choices(string.ascii_lowercase, k=draw.randint(*COPY_LENGTHS)))
        yield f"{text}\t{text}\n"


_MAKERS: Mapping[str, Callable[[], tuple[str, Callable[[], Mapping[str, str]]]]] = {
    "python_docs": _python_docs,
    **{name: functools.partial(_grammar, name) for name in GRAMMARS},
    "copy": _copy,
}


def _version(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _is_whole(folder: str) -> bool:
    try:
        with open(os.path.join(folder, _CHECKSUMS), encoding="utf-8") as lines:
            listed = [line.rstrip("\n").split("  ", 1) for line in lines]
        return all(_sha256(os.path.join(folder, name)) == sha256 for sha256, name in listed)
    except OSError:
        return False


def _sha256(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _write_folder(folder: str, texts: Mapping[str, str]) -> None:
    """Writes all files next to `folder` and renames; of two processes, one wins and the other takes
    its files.
    """
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    beside = tempfile.mkdtemp(dir=os.path.dirname(folder), prefix=f".{os.path.basename(folder)}.")
    try:
        sums = []
        for name, text in sorted(texts.items()):
            path = os.path.join(beside, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(text.encode())
            sums.append(f"{_sha256(path)}  {name}\n")
        with open(os.path.join(beside, _CHECKSUMS), "w", encoding="utf-8") as out:
            out.writelines(sums)
        os.chmod(beside, 0o755)
        if os.path.exists(folder) and not _is_whole(folder):
            shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            os.rename(beside, folder)
        if not _is_whole(folder):
            raise OSError(None, "renaming into place failed", folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
