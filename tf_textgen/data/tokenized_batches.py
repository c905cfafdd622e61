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


@dataclasses.dataclass(frozen=True)
class DocumentsToTokens:
    """Maps a batch of chunks to tokens of the stream `<s> document </s> ...`, and the ends of the
    documents.

    Attributes:
      tokenizer: of the documents.
      dtype: of the tokens.
    """

    tokenizer: Any
    dtype: np.dtype

    def __call__(self, batch: DocumentBatch) -> tuple[np.ndarray, np.ndarray]:
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
        return tokens.astype(self.dtype), last + 1


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
        for tokenizer, some, limit in zip(self.tokenizers, texts, limits, strict=True):
            side_ids, side_splits = _tokenize(tokenizer, some)
            ids.append(side_ids)
            splits.append(side_splits)
            longer.append(np.diff(side_splits) > limit)
        over_long = longer[0] | longer[1]
        parts = []
        for side in (0, 1):
            sizes = np.array([len(text) for text in texts[side]])
            if self.config.over_long == "drop":
                part = _without(ids[side], splits[side], sizes, over_long)
            else:
                # A reply answers the last turns of its context. Other texts start with their
                # subject.
                keep_last = self.config.format == "dialogue" and side == 0
                keep = _last_tokens if keep_last else _first_tokens
                lengths = np.minimum(np.diff(splits[side]), limits[side])
                tokens = keep(ids[side], splits[side], lengths)
                cut = longer[side]
                sizes[cut] = _text_bytes(self.tokenizers[side], tokens, lengths, cut)
                part = StreamPart(tokens, np.cumsum(lengths), sizes)
            parts.append(part._replace(tokens=part.tokens.astype(self.dtype)))
        return tuple(parts), int(over_long.sum())


def _tokenize(tokenizer: Any, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of all texts, concatenated, `[N]`, and the start of each text `[len(texts) +
    1]`.
    """
    ragged = tokenizer.tokenize(np.array(texts, dtype=object))
    return ragged.flat_values.numpy(), ragged.row_splits.numpy()


def _without(
    ids: np.ndarray, splits: np.ndarray, sizes: np.ndarray, dropped: np.ndarray
) -> StreamPart:
    """Returns the rows that are not `dropped` `[B]` bool."""
    lengths = np.where(dropped, 0, np.diff(splits))
    tokens = _first_tokens(ids, splits, lengths)
    return StreamPart(tokens, np.cumsum(lengths[~dropped]), sizes[~dropped])


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
