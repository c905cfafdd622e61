"""A tokenized split: its documents or pairs, and their counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_textgen.data.token_cache import Shards

_BLOCK_TOKENS = 1 << 20


class TokenizedSplit:
    """Documents (or pairs) `[first, last)` of tokenized files.

    Attributes:
      name: train, valid or test.
      is_pairs: whether the split has source and target texts.
      num_documents: number of documents or pairs.
      num_tokens: number of labels that an evaluation counts: every token of the text (of pairs: of
        the target) and one `</s>` for each text.
      num_bytes: UTF-8 bytes of that text, without the separators of the documents in the files.
      dropped, cut: number of over-long pairs of the files that are left out, or shortened.
      empty: number of pairs of the files that are left out because a side is empty.
      no_reply: number of dialogues of the files that are left out because nobody replies.
      replaced: number of lines of the files that were not UTF-8.
      marks: number of byte order marks of the files that are inside a line.
      unknown_bytes: bytes of the text that unknown tokens hide.
      overlap: share of the bytes of the text that are documents (or pairs) of the training data
        too, or None if that is not known.
      bos_id, eos_id, sep_id, pad_id, vocabulary_size: of the tokenizer.
      source_eos_id, source_pad_id: of the tokenizer of the sources.
    """

    def __init__(
        self,
        name: str,
        shards: Shards,
        tokenizer: Any,
        first: int = 0,
        last: int | None = None,
        source_tokenizer: Any = None,
    ):
        self.name = name
        self.shards = shards
        self.is_pairs = "target" in shards.streams
        counted = shards.streams["target" if self.is_pairs else "text"]
        self.first = first
        self.last = counted.documents if last is None else last
        self.num_documents = self.last - self.first
        tokens = int(counted.offsets[self.last] - counted.offsets[self.first])
        # The stream of a text has `<s>` and `</s>`, that of a target has neither.
        ends = self.num_documents if self.is_pairs else -self.num_documents
        self.num_tokens = tokens + ends
        self.num_bytes = int(counted.bytes[self.last] - counted.bytes[self.first])
        unknown = counted.unknown_bytes
        self.unknown_bytes = int(unknown[self.last] - unknown[self.first])
        self.overlap: float | None = None
        self.marks = shards.manifest["marks"]
        self.dropped = shards.manifest["dropped"]
        self.cut = shards.manifest["cut"]
        self.replaced = shards.manifest["replaced"]
        self.empty = shards.manifest["empty"]
        self.no_reply = shards.manifest["no_reply"]
        self.vocabulary_size = int(tokenizer.vocabulary_size)
        self.pad_id = int(tokenizer.pad_id)
        self.bos_id = int(tokenizer.bos_id)
        self.eos_id = int(tokenizer.eos_id)
        self.sep_id = int(tokenizer.sep_id)
        self.unk_id = int(tokenizer.unk_id)
        sources = source_tokenizer or tokenizer
        self.source_eos_id = int(sources.eos_id)
        self.source_pad_id = int(sources.pad_id)

    @property
    def is_cut(self) -> bool:
        """Whether the split is a part of the training files."""
        counted = self.shards.streams["target" if self.is_pairs else "text"]
        return self.num_documents < counted.documents

    @property
    def unknown_byte_share(self) -> float:
        """The share of the bytes of the text that unknown tokens hide."""
        return self.unknown_bytes / self.num_bytes if self.num_bytes else 0.0

    @property
    def stream_tokens(self) -> int:
        """The length of the stream of documents, with `<s>` and `</s>`."""
        return int(self._offset(self.last) - self._offset(self.first))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns the tokens `[start, stop)` of the stream of documents as int32."""
        base = int(self._offset(self.first))
        return self.shards.streams["text"].read(base + start, base + stop)

    def read_ring(self, start: int, count: int) -> np.ndarray:
        """Returns `count` tokens from `start` as int32.

        The last token of the stream is followed by the first.
        """
        start %= self.stream_tokens
        stop = start + count
        tokens = self.read(start, min(stop, self.stream_tokens))
        if stop > self.stream_tokens:
            tokens = np.append(tokens, self.read(0, stop - self.stream_tokens))
        return tokens

    def document_places(self) -> np.ndarray:
        """Returns the start of each document in the stream, and the end of the last:
        `[num_documents + 1]` int64.
        """
        places = np.array(self.shards.streams["text"].offsets[self.first : self.last + 1])
        return places - places[0]

    def lengths(self, stream: str) -> np.ndarray:
        """Returns the number of stored tokens of each document of a stream: `[num_documents]`
        int64.
        """
        return np.diff(self.shards.streams[stream].offsets[self.first : self.last + 1])

    def document(self, stream: str, index: int) -> np.ndarray:
        """Returns the stored tokens of one document as int32."""
        return self.read_documents(stream, index, index + 1)

    def read_documents(self, stream: str, first: int, last: int) -> np.ndarray:
        """Returns the stored tokens of the documents `[first, last)`, concatenated, as int32."""
        source = self.shards.streams[stream]
        start = int(source.offsets[self.first + first])
        stop = int(source.offsets[self.first + last])
        return source.read(start, stop)

    def hashes(self) -> np.ndarray:
        """Returns a hash of each document, or of each pair: `[num_documents]` uint64."""
        streams = self.shards.streams
        if not self.is_pairs:
            return streams["text"].hashes[self.first : self.last]
        sources = streams["source"].hashes[self.first : self.last]
        targets = streams["target"].hashes[self.first : self.last]
        return sources * np.uint64(0x9E3779B97F4A7C15) + targets

    def measure_overlap(self, train: TokenizedSplit) -> None:
        """Sets `overlap` to the share of this split that is in the training data too."""
        counted = self.shards.streams["target" if self.is_pairs else "text"]
        sizes = np.diff(counted.bytes[self.first : self.last + 1])
        known = np.isin(self.hashes(), train.hashes())
        self.overlap = float(sizes[known].sum() / max(1, sizes.sum()))

    def unknown_tokens(self) -> int:
        """Returns the number of unknown tokens among those that an evaluation counts."""
        counted = self.shards.streams["target" if self.is_pairs else "text"]
        start = int(counted.offsets[self.first])
        stop = int(counted.offsets[self.last])
        count = 0
        for first in range(start, stop, _BLOCK_TOKENS):
            block = counted.read(first, min(first + _BLOCK_TOKENS, stop))
            count += int(np.count_nonzero(block == self.unk_id))
        return count

    def summary(self) -> str:
        """Returns one line for people."""
        counts = [
            (self.num_documents, "pairs" if self.is_pairs else "documents"),
            (self.num_tokens, "tokens"),
            (self.num_bytes, "bytes"),
        ]
        exceptions = [
            (self.dropped, "over-long pairs of the files dropped"),
            (self.cut, "over-long pairs of the files cut"),
            (self.empty, "pairs of the files with an empty side dropped"),
            (self.no_reply, "dialogues of the files without a reply dropped"),
            (self.replaced, "lines not UTF-8 repaired"),
            (self.marks, "byte order marks inside lines"),
        ]
        counts += [exception for exception in exceptions if exception[0]]
        notes = [f"{count:,} {text}" for count, text in counts]
        if self.unknown_bytes:
            share = self.unknown_tokens() / self.num_tokens
            notes.append(f"{share:.2%} of the tokens unknown")
        if self.overlap:
            notes.append(f"{self.overlap:.1%} of the text overlaps with the training data")
        return f"{self.name}: {', '.join(notes)}"

    def _offset(self, document: int) -> int:
        return self.shards.streams["text"].offsets[document]
