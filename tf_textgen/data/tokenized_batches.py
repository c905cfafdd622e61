"""Tokenization of a batch of texts, as far as it does not depend on the other batches.

`DocumentsToTokens` and `PairsToTokens` can be pickled, so that other processes can run them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.data import token_streams
from tf_textgen.data.data_config import DataConfig


class DocumentBatch(NamedTuple):
    """Chunks of documents.

    Attributes:
      texts: of the chunks.
      starts: `[N]` bool, whether a document starts with the chunk.
      ends: `[N]` bool, whether a document ends with the chunk.
    """

    texts: list[bytes]
    starts: np.ndarray
    ends: np.ndarray


class StreamPart(NamedTuple):
    """The arguments of `StreamWriter.append` for one stream."""

    tokens: np.ndarray
    document_ends: np.ndarray
    document_bytes: np.ndarray
    unknown_bytes: np.ndarray


@dataclasses.dataclass(frozen=True)
class DocumentsToTokens:
    """Maps a batch of chunks to tokens of the stream `<s> document </s> ...`.

    The result also has the ends of the documents, and the bytes of each chunk that unknown tokens
    hide.

    Attributes:
      tokenizer: of the documents.
      dtype: of the tokens.
    """

    tokenizer: Any
    dtype: np.dtype

    def __call__(self, batch: DocumentBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids, splits = _tokenize(self.tokenizer, batch.texts)
        places = token_streams.ragged_places(np.diff(splits) + batch.starts + batch.ends)
        first = places[:-1][batch.starts]
        last = places[1:][batch.ends] - 1
        tokens = np.empty(places[-1], np.int64)
        tokens[first] = self.tokenizer.bos_id
        tokens[last] = self.tokenizer.eos_id
        ordinary = np.ones(places[-1], bool)
        ordinary[first] = False
        ordinary[last] = False
        tokens[ordinary] = ids
        unknown = _unknown_bytes(self.tokenizer, batch.texts, ids, splits)
        return tokens.astype(self.dtype), last + 1, unknown


@dataclasses.dataclass(frozen=True)
class PairsToTokens:
    """Maps a batch of pairs to parts of the streams `source` and `target`, and the number of
    over-long pairs.

    Attributes:
      config: how the pairs are read.
      tokenizers: of the sources and of the targets.
      dtype: of the tokens.
    """

    config: DataConfig
    tokenizers: tuple[Any, Any]
    dtype: np.dtype

    def __call__(self, batch: list[tuple[bytes, bytes]]) -> tuple[tuple[StreamPart, ...], int]:
        limits = (self.config.max_source_tokens, self.config.max_target_tokens)
        texts = [[source for source, _ in batch], [target for _, target in batch]]
        ids = []
        splits = []
        longer = []
        unknown = []
        for tokenizer, some, limit in zip(self.tokenizers, texts, limits, strict=True):
            side_ids, side_splits = _tokenize(tokenizer, some)
            ids.append(side_ids)
            splits.append(side_splits)
            longer.append(np.diff(side_splits) > limit)
            unknown.append(_unknown_bytes(tokenizer, some, side_ids, side_splits))
        over_long = longer[0] | longer[1]
        parts = []
        for side in (0, 1):
            sizes = np.array([len(text) for text in texts[side]])
            if self.config.over_long == "drop":
                part = _without(ids[side], splits[side], sizes, unknown[side], over_long)
            else:
                # A reply answers the last turns of its context. Other texts start with their
                # subject.
                keep_last = self.config.format == "dialogue" and side == 0
                keep = _last_tokens if keep_last else _first_tokens
                lengths = np.minimum(np.diff(splits[side]), limits[side])
                tokens = keep(ids[side], splits[side], lengths)
                cut = longer[side]
                sizes[cut] = _text_bytes(self.tokenizers[side], tokens, lengths, cut)
                # Of a text that is cut, at most the bytes that are left are hidden.
                hidden = np.minimum(unknown[side], sizes)
                part = StreamPart(tokens, np.cumsum(lengths), sizes, hidden)
            parts.append(part._replace(tokens=part.tokens.astype(self.dtype)))
        return tuple(parts), int(over_long.sum())


def _tokenize(tokenizer: Any, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of all texts, concatenated, `[N]`, and the start of each text `[len(texts) +
    1]`.
    """
    ragged = tokenizer.tokenize(np.array(texts, dtype=object))
    return ragged.flat_values.numpy(), ragged.row_splits.numpy()


def _without(
    ids: np.ndarray,
    splits: np.ndarray,
    sizes: np.ndarray,
    unknown: np.ndarray,
    dropped: np.ndarray,
) -> StreamPart:
    """Returns the rows that are not `dropped` `[B]` bool."""
    lengths = np.where(dropped, 0, np.diff(splits))
    tokens = _first_tokens(ids, splits, lengths)
    kept = ~dropped
    return StreamPart(tokens, np.cumsum(lengths[kept]), sizes[kept], unknown[kept])


def _unknown_bytes(
    tokenizer: Any, texts: list[bytes], ids: np.ndarray, splits: np.ndarray
) -> np.ndarray:
    """Returns the bytes of each text that unknown tokens hide: `[N]` int64."""
    hidden = np.zeros(len(texts), np.int64)
    places = np.flatnonzero(ids == tokenizer.unk_id)
    rows = np.unique(np.searchsorted(splits, places, side="right") - 1)
    if rows.size:
        some = np.array([texts[row] for row in rows], dtype=object)
        hidden[rows] = tokenizer.unknown_bytes(some).numpy()
    return hidden


def _first_tokens(ids: np.ndarray, splits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Returns the first `kept[i]` ids of each row i, concatenated."""
    lengths = np.diff(splits)
    within = np.arange(len(ids)) - np.repeat(splits[:-1], lengths)
    return ids[within < np.repeat(kept, lengths)]


def _last_tokens(ids: np.ndarray, splits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Returns the last `kept[i]` ids of each row i, concatenated."""
    lengths = np.diff(splits)
    from_end = np.repeat(splits[1:], lengths) - np.arange(len(ids))
    return ids[from_end <= np.repeat(kept, lengths)]


def _text_bytes(
    tokenizer: Any, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray
) -> list[int]:
    """Returns the number of UTF-8 bytes of the text of each row of `rows` `[B]` bool."""
    of_rows = tokens[np.repeat(rows, lengths)].astype(np.int32)
    row_lengths = lengths[rows].astype(np.int64)
    texts = tokenizer.detokenize(tf.RaggedTensor.from_row_lengths(of_rows, row_lengths))
    return [len(text) for text in texts.numpy()]
