"""A tokenised split: documents or pairs, and what is counted in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_textgen.data.token_cache import Shards


class TokenizedSplit:
    """Documents (or pairs) `[first, last)` of tokenised files.

    Attributes:
      name: train, valid or test.
      is_pairs: whether it holds source and target texts.
      num_documents: documents or pairs.
      num_tokens: labels counted in an evaluation: every token of the text (pairs: of the target) and one `</s>` each.
      num_bytes: UTF-8 bytes of that text; what separates documents in the files is not counted.
      dropped, cut: over-long pairs left out or shortened in the files. empty: pairs left out for an empty side.
        no_reply: dialogues left out. replaced: lines that were not UTF-8.
      bos_id, eos_id, sep_id, pad_id, vocabulary_size: the tokenizer's.
      source_eos_id, source_pad_id: those of the tokenizer of the sources.
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
        self.first, self.last = first, counted.documents if last is None else last
        self.num_documents = self.last - self.first
        tokens = int(counted.offsets[self.last] - counted.offsets[self.first])
        self.num_tokens = tokens + self.num_documents * (1 if self.is_pairs else -1)
        self.num_bytes = int(counted.bytes[self.last] - counted.bytes[self.first])
        self.dropped, self.cut, self.replaced = (
            shards.manifest[name] for name in ("dropped", "cut", "replaced")
        )
        self.empty, self.no_reply = (shards.manifest[name] for name in ("empty", "no_reply"))
        self.vocabulary_size = int(tokenizer.vocabulary_size)
        self.pad_id, self.bos_id = int(tokenizer.pad_id), int(tokenizer.bos_id)
        self.eos_id, self.sep_id = int(tokenizer.eos_id), int(tokenizer.sep_id)
        sources = source_tokenizer or tokenizer
        self.source_eos_id, self.source_pad_id = int(sources.eos_id), int(sources.pad_id)

    @property
    def stream_tokens(self) -> int:
        """Length of the stream of documents, `<s>` and `</s>` included."""
        return int(self._offset(self.last) - self._offset(self.first))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens `[start, stop)` of the stream of documents as int32."""
        base = int(self._offset(self.first))
        return self.shards.streams["text"].read(base + start, base + stop)

    def document_places(self) -> np.ndarray:
        """Where each document begins in the stream, and its end: `[num_documents + 1]` int64."""
        places = np.array(self.shards.streams["text"].offsets[self.first : self.last + 1])
        return places - places[0]

    def lengths(self, stream: str) -> np.ndarray:
        """Stored tokens of each document of a stream: `[num_documents]` int64."""
        return np.diff(self.shards.streams[stream].offsets[self.first : self.last + 1])

    def document(self, stream: str, index: int) -> np.ndarray:
        """The stored tokens of one document as int32."""
        return self.read_documents(stream, index, index + 1)

    def read_documents(self, stream: str, first: int, last: int) -> np.ndarray:
        """The stored tokens of documents `[first, last)`, one after the other, as int32."""
        source = self.shards.streams[stream]
        return source.read(
            int(source.offsets[self.first + first]), int(source.offsets[self.first + last])
        )

    def summary(self) -> str:
        """One line for people."""
        what = "pairs" if self.is_pairs else "documents"
        notes = [
            f"{self.num_documents:,} {what}",
            f"{self.num_tokens:,} tokens",
            f"{self.num_bytes:,} bytes",
        ]
        for fate, text in (
            ("dropped", "over-long pairs of the files dropped"),
            ("cut", "over-long pairs of the files cut"),
            ("empty", "pairs of the files with an empty side dropped"),
            ("no_reply", "dialogues of the files without a reply dropped"),
        ):
            if getattr(self, fate):
                notes.append(f"{getattr(self, fate):,} {text}")
        if self.replaced:
            notes.append(f"{self.replaced:,} lines not UTF-8 repaired")
        return f"{self.name}: {', '.join(notes)}"

    def _offset(self, document: int) -> int:
        return self.shards.streams["text"].offsets[document]
