"""A long sequence of tokens in files of bounded size, with the starts of its documents.

The files of a stream with the name `text`:
  `text-00000.tokens`, ...: `SHARD_TOKENS` little-endian integers each, the last file fewer. They
    are uint16 for vocabularies of at most 65,536 ids, otherwise int32.
  `text.offsets`: num_documents + 1 int64, the start of each document and the end of the last.
  `text.bytes`: num_documents + 1 int64, the UTF-8 bytes of all documents before.
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
    """Returns the smaller of the two stored dtypes if it can hold every id, otherwise
    the larger.
    """
    return np.dtype("<u2") if vocabulary_size <= 1 << 16 else np.dtype("<i4")


class StreamWriter:
    """Appends documents to the files of one stream.

    `finish` forces the files to disk. The context manager closes them.
    """

    def __init__(self, folder: str, name: str, dtype: np.dtype, shard_tokens: int):
        self._folder = folder
        self._name = name
        self._dtype = dtype
        self._shard_tokens = shard_tokens
        self.tokens = 0
        self.documents = 0
        self.bytes = 0
        self._shard: Any = None
        self._offsets = self._create(".offsets")
        self._bytes = self._create(".bytes")
        self._offsets.write(np.zeros(1, "<i8").tobytes())
        self._bytes.write(np.zeros(1, "<i8").tobytes())

    def append(
        self, tokens: np.ndarray, document_ends: np.ndarray, document_bytes: np.ndarray
    ) -> None:
        """Appends tokens.

        Args:
          tokens: `[N]` integers.
          document_ends: `[D]` integers in `[0, N]`, the end of each document that ends in `tokens`.
          document_bytes: `[D]` UTF-8 bytes of these documents.
        """
        offsets = self.tokens + np.asarray(document_ends)
        self._offsets.write(offsets.astype("<i8").tobytes())
        byte_counts = self.bytes + np.cumsum(document_bytes)
        self._bytes.write(byte_counts.astype("<i8").tobytes())
        self.documents += len(document_ends)
        self.bytes += int(np.sum(document_bytes))
        tokens = np.asarray(tokens).astype(self._dtype)
        while tokens.size:
            number, used = divmod(self.tokens, self._shard_tokens)
            if used == 0:
                self._sync(self._shard)
                self._shard = self._create(f"-{number:05d}.tokens")
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
        """Forces everything to disk and returns the counts that `TokenStream` needs."""
        for stream in (self._shard, self._offsets, self._bytes):
            self._sync(stream)
        return {
            "tokens": self.tokens,
            "documents": self.documents,
            "bytes": self.bytes,
            "shard_tokens": self._shard_tokens,
        }

    def _create(self, suffix: str) -> Any:
        return open(os.path.join(self._folder, f"{self._name}{suffix}"), "wb")

    @staticmethod
    def _sync(stream: Any) -> None:
        if stream is not None:
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()


class TokenStream:
    """Reads the files of a `StreamWriter`.

    Tokens are read instead of mapped. Mapped pages count as memory of the process, which would grow
    to the size of the corpus.

    Attributes:
      offsets: `[D + 1]` int64, the start of each document and the end of the last.
      bytes: `[D + 1]` int64, the UTF-8 bytes of all documents before.
    """

    def __init__(self, folder: str, name: str, dtype: np.dtype, counts: dict[str, int]):
        prefix = os.path.join(folder, name)
        # Plain arrays: reading an element of a `numpy.memmap` takes ten times as long.
        self.offsets = np.asarray(np.memmap(f"{prefix}.offsets", "<i8", "r"))
        self.bytes = np.asarray(np.memmap(f"{prefix}.bytes", "<i8", "r"))
        self._dtype = dtype
        self._tokens = counts["tokens"]
        self._shard_tokens = counts["shard_tokens"]
        num_shards = -(-self._tokens // self._shard_tokens)
        self._paths = [f"{prefix}-{number:05d}.tokens" for number in range(num_shards)]
        self._shards = [os.open(path, os.O_RDONLY) for path in self._paths]
        for shard in self._shards:
            weakref.finalize(self, os.close, shard)

    @property
    def documents(self) -> int:
        return len(self.offsets) - 1

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns the tokens `[start, stop)` as int32.

        As in a slice, there are none past the end.
        """
        parts = []
        stop = min(stop, self._tokens)
        while start < stop:
            number, place = divmod(start, self._shard_tokens)
            end = min(place + stop - start, self._shard_tokens)
            parts.append(self._read_shard(number, place, end).astype(np.int32))
            start += end - place
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.zeros(0, np.int32), *parts])

    def _read_shard(self, number: int, start: int, stop: int) -> np.ndarray:
        size = self._dtype.itemsize
        data = os.pread(self._shards[number], (stop - start) * size, start * size)
        if len(data) != (stop - start) * size:
            raise UserError(
                f"{self._paths[number]} was truncated while it was in use; delete its folder and "
                "start again"
            )
        return np.frombuffer(data, self._dtype)


def file_sizes(name: str, dtype: np.dtype, counts: dict[str, int]) -> dict[str, int]:
    """Returns the names of the files of a complete stream and their sizes in bytes."""
    sizes = {f"{name}.{kind}": 8 * (counts["documents"] + 1) for kind in ("offsets", "bytes")}
    for number, start in enumerate(range(0, counts["tokens"], counts["shard_tokens"])):
        length = min(counts["shard_tokens"], counts["tokens"] - start)
        sizes[f"{name}-{number:05d}.tokens"] = length * dtype.itemsize
    return sizes


def ragged_places(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the start of each row in the concatenation of rows of these lengths, and its end:
    `[len + 1]` int64.
    """
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
