"""Files and tokenized splits for the tests of `data`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_textgen.data import dataset
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.data.token_cache import Shards
from tf_textgen.text.bytes import ByteTokenizer

PAD, BOS, EOS, SEP, FIRST = 0, 2, 3, 4, 5


def ids(text: bytes) -> list[int]:
    """What the tokenizer of bytes makes of a text."""
    return [byte + FIRST for byte in text]


def write(path: pathlib.Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def random_texts(count: int, longest: int, seed: int = 0) -> list[bytes]:
    """Texts of 1 to `longest` letters and spaces that begin and end with a letter."""
    rng = np.random.default_rng(seed)
    texts = [
        rng.choice(np.frombuffer(b"abcdefgh  ", np.uint8), rng.integers(1, longest + 1))
        for _ in range(count)
    ]
    return [b"x" + bytes(text[1:-1]) + b"y" * (len(text) > 1) for text in texts]


def text_split(
    folder: pathlib.Path, documents: Sequence[bytes], **options: Any
) -> tuple[TokenizedSplit, DataConfig]:
    """Documents, one a line, as a training split."""
    path = write(folder / "documents.txt", b"\n".join(documents) + b"\n")
    return _open(folder, train=(path,), documents="line", **options)


def pairs_split(
    folder: pathlib.Path, pairs: Sequence[tuple[bytes, bytes]], **options: Any
) -> tuple[TokenizedSplit, DataConfig]:
    """Pairs, one a TSV row, as a training split."""
    path = write(folder / "pairs.tsv", b"".join(b"%b\t%b\n" % pair for pair in pairs))
    return _open(folder, train=(path,), format="tsv", **options)


def _open(folder: pathlib.Path, **options: Any) -> tuple[TokenizedSplit, DataConfig]:
    config = dataclasses.replace(
        DataConfig(validation_fraction=0.0, cache_dir=str(folder / "cache")), **options
    )
    return dataset.open_corpus(config, ByteTokenizer())["train"], config


class CountingTokenizer(ByteTokenizer):
    """Remembers the bytes of each call of `tokenize`; may fail in one."""

    def __init__(self, fingerprint=None, fail=False):
        super().__init__()
        self.calls = []
        self.fail = fail
        self.fingerprint = fingerprint or self.fingerprint

    def tokenize(self, texts):
        if self.fail:
            raise KeyboardInterrupt
        self.calls.append(sum(len(text) for text in texts))
        return super().tokenize(texts)


def stream_of(opened: Shards, name: str) -> list[int]:
    """All tokens of one stream."""
    stream = opened.streams[name]
    return stream.read(0, int(stream.offsets[-1])).tolist()
