"""A long sequence of tokens in files of bounded size, with the starts of its documents.

The files of a stream with the name `text`:
  `text-00000.tokens`, ...: `SHARD_TOKENS` little-endian integers each, the last file fewer. They
    are uint16 for vocabularies of at most 65,536 ids, otherwise int32.
  `text.offsets`: num_documents + 1 int64, the start of each document and the end of the last.
  `text.bytes`: num_documents + 1 int64, the UTF-8 bytes of all documents before.
  `text.unknown`: num_documents + 1 int64, the bytes of these that unknown tokens hide.
  `text.hashes`: num_documents uint64, equal for documents with the same tokens.
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
        self.unknown_bytes = 0
        self._offsets = self._create(".offsets")
        self._bytes = self._create(".bytes")
        self._unknown = self._create(".unknown")
        self._hashes = self._create(".hashes")
        for stream in (self._offsets, self._bytes, self._unknown):
            stream.write(np.zeros(1, "<i8").tobytes())
        self._open_hash = np.uint64(0)
        self._open_tokens = 0

    def append(
        self,
        tokens: np.ndarray,
        document_ends: np.ndarray,
        document_bytes: np.ndarray,
        unknown_bytes: np.ndarray,
    ) -> None:
        """Appends tokens.

        Args:
          tokens: `[N]` integers.
          document_ends: `[D]` integers in `[0, N]`, the end of each document that ends in `tokens`.
          document_bytes: `[D]` UTF-8 bytes of these documents.
          unknown_bytes: `[D]` bytes of these documents that unknown tokens hide.
        """
        offsets = self.tokens + np.asarray(document_ends)
        self._offsets.write(offsets.astype("<i8").tobytes())
        byte_counts = self.bytes + np.cumsum(document_bytes)
        self._bytes.write(byte_counts.astype("<i8").tobytes())
        unknown_counts = self.unknown_bytes + np.cumsum(unknown_bytes)
        self._unknown.write(unknown_counts.astype("<i8").tobytes())
        self._hashes.write(self._document_hashes(tokens, np.asarray(document_ends)).tobytes())
        self.documents += len(document_ends)
        self.bytes += int(np.sum(document_bytes))
        self.unknown_bytes += int(np.sum(unknown_bytes))
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
        for stream in self._streams():
            if stream is not None:
                stream.close()

    def finish(self) -> dict[str, int]:
        """Forces everything to disk and returns the counts that `TokenStream` needs."""
        for stream in self._streams():
            self._sync(stream)
        return {
            "tokens": self.tokens,
            "documents": self.documents,
            "bytes": self.bytes,
            "shard_tokens": self._shard_tokens,
        }

    def _document_hashes(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns the hashes of the documents that end in `tokens`: `[D]` uint64.

        The hash is a sum over the tokens, so that a document can be appended in several parts.
        """
        starts = np.concatenate([[0], ends]).astype(np.int64)
        lengths = np.diff(np.append(starts, len(tokens)))
        places = np.arange(len(tokens)) - np.repeat(starts, lengths)
        places[: lengths[0]] += self._open_tokens
        mixed = _mix(_mix(np.asarray(tokens).astype(np.uint64)) + places.astype(np.uint64))
        # A cumulative sum, since `np.add.reduceat` has no empty ranges.
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        hashes = sums[starts + lengths] - sums[starts]
        hashes[:1] += self._open_hash
        self._open_hash = hashes[-1]
        self._open_tokens = int(lengths[-1]) + (0 if len(ends) else self._open_tokens)
        return hashes[:-1].astype("<u8")

    def _streams(self) -> tuple[Any, ...]:
        return (self._shard, self._offsets, self._bytes, self._unknown, self._hashes)

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
      unknown_bytes: `[D + 1]` int64, the bytes of these that unknown tokens hide.
      hashes: `[D]` uint64, equal for documents with the same tokens.
    """

    def __init__(self, folder: str, name: str, dtype: np.dtype, counts: dict[str, int]):
        prefix = os.path.join(folder, name)
        # Plain arrays: reading an element of a `numpy.memmap` takes ten times as long.
        self.offsets = np.asarray(np.memmap(f"{prefix}.offsets", "<i8", "r"))
        self.bytes = np.asarray(np.memmap(f"{prefix}.bytes", "<i8", "r"))
        self.unknown_bytes = np.asarray(np.memmap(f"{prefix}.unknown", "<i8", "r"))
        self._hashes_path = f"{prefix}.hashes"
        self._dtype = dtype
        self._tokens = counts["tokens"]
        self._shard_tokens = counts["shard_tokens"]
        num_shards = -(-self._tokens // self._shard_tokens)
        self._paths = [f"{prefix}-{number:05d}.tokens" for number in range(num_shards)]
        self._shards = [os.open(path, os.O_RDONLY) for path in self._paths]
        for shard in self._shards:
            weakref.finalize(self, os.close, shard)

    @property
    def hashes(self) -> np.ndarray:
        return np.fromfile(self._hashes_path, "<u8")

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
    per_document = ("offsets", "bytes", "unknown")
    sizes = {f"{name}.{kind}": 8 * (counts["documents"] + 1) for kind in per_document}
    sizes[f"{name}.hashes"] = 8 * counts["documents"]
    for number, start in enumerate(range(0, counts["tokens"], counts["shard_tokens"])):
        length = min(counts["shard_tokens"], counts["tokens"] - start)
        sizes[f"{name}-{number:05d}.tokens"] = length * dtype.itemsize
    return sizes


def _mix(values: np.ndarray) -> np.ndarray:
    """Applies the finalizer of splitmix64, a bijection of uint64."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def ragged_places(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the start of each row in the concatenation of rows of these lengths, and its end:
    `[len + 1]` int64.
    """
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
