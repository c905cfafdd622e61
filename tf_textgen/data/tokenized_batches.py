"""A batch of texts to arrays of tokens, with everything that can be done without knowing the other batches.

`DocumentsToTokens` and `PairsToTokens` can be pickled, so that other processes do the same.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.data import token_streams
from tf_textgen.data.data_config import DataConfig


class DocumentBatch(NamedTuple):
    """Chunks of documents, and whether a document begins and ends with each: `[N]` bool."""

    texts: list[bytes]
    starts: np.ndarray
    ends: np.ndarray


class StreamPart(NamedTuple):
    """What `StreamWriter.append` takes of one stream."""

    tokens: np.ndarray
    document_ends: np.ndarray
    document_bytes: np.ndarray


@dataclasses.dataclass(frozen=True)
class DocumentsToTokens:
    """Batches of chunks to tokens of the stream `<s> document </s> ...`, of type `dtype`, and where documents end."""

    tokenizer: Any
    dtype: np.dtype

    def __call__(self, batch: DocumentBatch) -> tuple[np.ndarray, np.ndarray]:
        ids, splits = _tokenize(self.tokenizer, batch.texts)
        special_ids = self.tokenizer.bos_id, self.tokenizer.eos_id
        tokens, places = _wrapped(ids, splits, batch.starts, batch.ends, *special_ids)
        return tokens.astype(self.dtype), places


@dataclasses.dataclass(frozen=True)
class PairsToTokens:
    """Batches of pairs to parts of the streams `source` and `target`, and how many of the pairs were over-long."""

    config: DataConfig
    tokenizers: tuple[Any, Any]
    dtype: np.dtype

    def __call__(self, batch: list[tuple[bytes, bytes]]) -> tuple[tuple[StreamPart, ...], int]:
        limits = (self.config.max_source_tokens, self.config.max_target_tokens)
        sides = [
            _tokenize(self.tokenizers[side], [pair[side] for pair in batch]) for side in (0, 1)
        ]
        longer = [np.diff(splits) > limit for (_, splits), limit in zip(sides, limits, strict=True)]
        either = longer[0] | longer[1]
        parts = []
        for side, (ids, splits) in enumerate(sides):
            sizes = np.array([len(pair[side]) for pair in batch])
            if self.config.over_long == "drop":
                tokens, kept = _first_tokens(ids, splits, np.where(either, 0, np.diff(splits)))
                kept, sizes = kept[~either], sizes[~either]
            else:
                # What was said last is what a reply answers; other texts say first what they are about.
                keep = (
                    _last_tokens
                    if self.config.format == "dialogue" and side == 0
                    else _first_tokens
                )
                tokens, kept = keep(ids, splits, np.minimum(np.diff(splits), limits[side]))
                sizes[longer[side]] = _text_bytes(self.tokenizers[side], tokens, kept, longer[side])
            parts.append(StreamPart(tokens.astype(self.dtype), np.cumsum(kept), sizes))
        return tuple(parts), int(either.sum())


def _wrapped(
    ids: np.ndarray,
    splits: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    bos_id: int,
    eos_id: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Puts `<s>` before chunks that start a document and `</s>` after those that end one; also says where they end."""
    places = token_streams.ragged_places(np.diff(splits) + starts + ends)
    tokens = np.empty(places[-1], np.int64)
    ordinary = np.ones(places[-1], bool)
    for special, where in ((bos_id, places[:-1][starts]), (eos_id, places[1:][ends] - 1)):
        tokens[where] = special
        ordinary[where] = False
    tokens[ordinary] = ids
    return tokens, places[1:][ends]


def _tokenize(tokenizer: Any, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all texts side by side `[N]`, and where each text begins `[len(texts) + 1]`."""
    ragged = tokenizer.tokenize(np.array(texts, dtype=object))
    return ragged.flat_values.numpy(), ragged.row_splits.numpy()


def _first_tokens(
    ids: np.ndarray, splits: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first `kept[i]` ids of row i, side by side, and `kept`."""
    within = np.arange(len(ids)) - np.repeat(splits[:-1], np.diff(splits))
    return ids[within < np.repeat(kept, np.diff(splits))], kept


def _last_tokens(
    ids: np.ndarray, splits: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The last `kept[i]` ids of row i, side by side, and `kept`."""
    behind = np.repeat(splits[1:], np.diff(splits)) - np.arange(len(ids))
    return ids[behind <= np.repeat(kept, np.diff(splits))], kept


def _text_bytes(
    tokenizer: Any, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray
) -> list[int]:
    """UTF-8 bytes of the text that the tokens of `rows` stand for."""
    of_rows = tokens[np.repeat(rows, lengths)].astype(np.int32)
    texts = tokenizer.detokenize(
        tf.RaggedTensor.from_row_lengths(of_rows, lengths[rows].astype(np.int64))
    )
    return [len(text) for text in texts.numpy()]
