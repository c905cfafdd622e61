"""A long sequence of tokens in files of bounded size, with the places where its documents begin.

Files of a stream called `text`: `text-00000.tokens`, ... hold `SHARD_TOKENS` little-endian uint16 (vocabularies of at
most 65,536) or int32 each, the last one fewer; `text.offsets` holds num_documents + 1 int64 places of the sequence and
`text.bytes` num_documents + 1 int64 sums of the UTF-8 bytes of the documents before.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_textgen.errors import UserError

SHARD_TOKENS = 1 << 26


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The smallest of the two stored types that holds every id."""
    return np.dtype("<u2") if vocabulary_size <= 1 << 16 else np.dtype("<i4")


class StreamWriter:
    """Appends documents to the files of one stream; `finish` makes them durable. Its context closes the files."""

    def __init__(self, folder: str, name: str, dtype: np.dtype, shard_tokens: int):
        self._folder, self._name, self._dtype, self._shard_tokens = (
            folder,
            name,
            dtype,
            shard_tokens,
        )
        self.tokens = self.documents = self.bytes = 0
        self._shard: Any = None
        self._offsets = self._create("offsets")
        self._bytes = self._create("bytes")
        self._offsets.write(np.zeros(1, "<i8").tobytes())
        self._bytes.write(np.zeros(1, "<i8").tobytes())

    def append(
        self, tokens: np.ndarray, document_ends: np.ndarray, document_bytes: np.ndarray
    ) -> None:
        """Adds tokens.

        Args:
          tokens: `[N]` integers.
          document_ends: `[D]` places in `[0, N]` after the last token of each document that ends here.
          document_bytes: `[D]` UTF-8 bytes of these documents.
        """
        self._offsets.write((self.tokens + np.asarray(document_ends)).astype("<i8").tobytes())
        self._bytes.write((self.bytes + np.cumsum(document_bytes)).astype("<i8").tobytes())
        self.documents += len(document_ends)
        self.bytes += int(np.sum(document_bytes))
        tokens = np.asarray(tokens).astype(self._dtype)
        while tokens.size:
            number, used = divmod(self.tokens, self._shard_tokens)
            if used == 0:
                self._sync(self._shard)
                self._shard = self._create(f"{number:05d}", "-", ".tokens")
            part, tokens = np.split(tokens, [self._shard_tokens - used])
            self._shard.write(part.tobytes())
            self.tokens += part.size

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._shard, self._offsets, self._bytes):
            if stream is not None:
                stream.close()

    def finish(self) -> dict[str, int]:
        """Writes everything to disk; returns what `TokenStream` needs to know."""
        for stream in (self._shard, self._offsets, self._bytes):
            self._sync(stream)
        return {
            "tokens": self.tokens,
            "documents": self.documents,
            "bytes": self.bytes,
            "shard_tokens": self._shard_tokens,
        }

    def _create(self, suffix: str, separator: str = ".", extension: str = "") -> Any:
        return open(os.path.join(self._folder, f"{self._name}{separator}{suffix}{extension}"), "wb")

    @staticmethod
    def _sync(stream: Any) -> None:
        if stream is not None:
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()


class TokenStream:
    """Reads what `StreamWriter` wrote.

    Tokens are read and not mapped: pages once mapped count as memory of the process, which would grow to the size of
    the corpus.

    Attributes:
      offsets: `[D + 1]` int64, where each document begins.
      bytes: `[D + 1]` int64, the UTF-8 bytes of all documents before.
    """

    def __init__(self, folder: str, name: str, dtype: np.dtype, counts: dict[str, int]):
        # As plain arrays: an element of a `numpy.memmap` takes ten times as long.
        self.offsets, self.bytes = (
            np.asarray(np.memmap(os.path.join(folder, f"{name}.{kind}"), "<i8", "r"))
            for kind in ("offsets", "bytes")
        )
        self._dtype, self._tokens, self._shard_tokens = (
            dtype,
            counts["tokens"],
            counts["shard_tokens"],
        )
        self._paths = [
            os.path.join(folder, f"{name}-{number:05d}.tokens")
            for number in range(-(-self._tokens // self._shard_tokens))
        ]
        self._shards = [os.open(path, os.O_RDONLY) for path in self._paths]
        for shard in self._shards:
            weakref.finalize(self, os.close, shard)

    @property
    def documents(self) -> int:
        return len(self.offsets) - 1

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens `[start, stop)` as int32; there are none past the end, as in a slice."""
        parts, stop = [], min(stop, self._tokens)
        while start < stop:
            number, place = divmod(start, self._shard_tokens)
            end = min(place + stop - start, self._shard_tokens)
            parts.append(self._read_shard(number, place, end).astype(np.int32))
            start += end - place
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int32), *parts])

    def _read_shard(self, number: int, start: int, stop: int) -> np.ndarray:
        size = self._dtype.itemsize
        data = os.pread(self._shards[number], (stop - start) * size, start * size)
        if len(data) != (stop - start) * size:
            raise UserError(
                f"{self._paths[number]}: shorter than it was; expected a cache that stays; delete its folder and start "
                "again"
            )
        return np.frombuffer(data, self._dtype)


def file_sizes(name: str, dtype: np.dtype, counts: dict[str, int]) -> dict[str, int]:
    """The files of a whole stream and their sizes in bytes."""
    sizes = {f"{name}.{kind}": 8 * (counts["documents"] + 1) for kind in ("offsets", "bytes")}
    for number, start in enumerate(range(0, counts["tokens"], counts["shard_tokens"])):
        length = min(counts["shard_tokens"], counts["tokens"] - start)
        sizes[f"{name}-{number:05d}.tokens"] = length * dtype.itemsize
    return sizes


def ragged_places(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where rows of `lengths` begin in their concatenation, and its end: `[len + 1]` int64."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
