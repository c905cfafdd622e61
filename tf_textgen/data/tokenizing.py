"""Documents and pairs to streams of tokens on disk, a bounded part at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tf_textgen.data import sources, token_streams
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError

ItemT = TypeVar("ItemT")
_BATCH_BYTES = 1 << 20  # of text tokenised at once
_BATCH_TEXTS = 8192
_PROGRESS_SECONDS = 5.0


def tokenize_documents(
    config: DataConfig, tokenizer: Any, paths: tuple[list[str], list[str]], folder: str, dtype: np.dtype
) -> dict[str, Any]:
    """Writes the stream `text`: `<s> document </s>` after each other.

    Returns:
      What the manifest says of it.
    """
    progress = _Progress()
    begins, open_bytes = True, 0
    documents = sources.Documents(config, paths[0])
    with token_streams.StreamWriter(folder, "text", dtype, token_streams.SHARD_TOKENS) as writer:
        for batch in _batches(documents, lambda chunk: len(chunk.text)):
            ids, splits = _tokenize(tokenizer, [chunk.text for chunk in batch])
            ends = np.array([chunk.ends for chunk in batch])
            starts = np.append(begins, ends[:-1])
            tokens, places = _wrapped(ids, splits, starts, ends, tokenizer.bos_id, tokenizer.eos_id)
            totals = open_bytes + np.cumsum([len(chunk.text) for chunk in batch])
            writer.append(tokens, places, np.diff(totals[ends], prepend=0))
            open_bytes = int(totals[-1] - np.max(totals[ends], initial=0))
            begins = bool(ends[-1])
            progress.show(writer.bytes + open_bytes, writer.tokens)
        return {"streams": {"text": writer.finish()}, "replaced": documents.replaced}


def tokenize_pairs(
    config: DataConfig, tokenizers: tuple[Any, Any], paths: tuple[list[str], list[str]], folder: str, dtype: np.dtype
) -> dict[str, Any]:
    """Writes the streams `source` and `target`: ids alone, the over-long pairs dropped or cut.

    Args:
      config: how the files are read.
      tokenizers: of the source and of the target.
      paths: of the pairs, and of their target side where it has files of its own.
      folder: of the streams.
      dtype: of the ids.

    Returns:
      What the manifest says of them.

    Raises:
      UserError: where no pair fits.
    """
    progress = _Progress()
    over_long = 0
    pairs = sources.Pairs(config, *paths)
    shard_tokens = token_streams.SHARD_TOKENS
    with (
        token_streams.StreamWriter(folder, "source", dtype, shard_tokens) as source,
        token_streams.StreamWriter(folder, "target", dtype, shard_tokens) as target,
    ):
        for batch in _batches(pairs, lambda pair: len(pair[0]) + len(pair[1])):
            over_long += _append_pairs(config, tokenizers, batch, source, target)
            progress.show(source.bytes + target.bytes, source.tokens + target.tokens)
        counts = {"source": source.finish(), "target": target.finish()}
    if not target.documents:
        raise UserError(
            f"{paths[0][0]}: all {over_long} pairs exceed --data.max_source_tokens={config.max_source_tokens} or "
            f"--data.max_target_tokens={config.max_target_tokens}: expected some that fit; raise these or set "
            "--data.over_long=cut"
        )
    fate = {"drop": "dropped", "cut": "cut"}[config.over_long]
    notes = {"replaced": pairs.replaced, "empty": pairs.empty, "no_reply": pairs.no_reply}
    return {"streams": counts, fate: over_long, **notes}


def _append_pairs(
    config: DataConfig,
    tokenizers: tuple[Any, Any],
    batch: list[tuple[bytes, bytes]],
    source: token_streams.StreamWriter,
    target: token_streams.StreamWriter,
) -> int:
    """Writes a batch of pairs; returns how many were over-long."""
    limits = (config.max_source_tokens, config.max_target_tokens)
    sides = [_tokenize(tokenizers[side], [pair[side] for pair in batch]) for side in (0, 1)]
    longer = [np.diff(splits) > limit for (_, splits), limit in zip(sides, limits, strict=True)]
    either = longer[0] | longer[1]
    for side, writer in enumerate((source, target)):
        ids, splits = sides[side]
        sizes = np.array([len(pair[side]) for pair in batch])
        if config.over_long == "drop":
            tokens, kept = _first_tokens(ids, splits, np.where(either, 0, np.diff(splits)))
            kept, sizes = kept[~either], sizes[~either]
        else:
            # What was said last is what a reply answers; other texts say first what they are about.
            keep = _last_tokens if config.format == "dialogue" and side == 0 else _first_tokens
            tokens, kept = keep(ids, splits, np.minimum(np.diff(splits), limits[side]))
            sizes[longer[side]] = _text_bytes(tokenizers[side], tokens, kept, longer[side])
        writer.append(tokens, np.cumsum(kept), sizes)
    return int(either.sum())


def _wrapped(
    ids: np.ndarray, splits: np.ndarray, starts: np.ndarray, ends: np.ndarray, bos_id: int, eos_id: int
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


def _first_tokens(ids: np.ndarray, splits: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first `kept[i]` ids of row i, side by side, and `kept`."""
    within = np.arange(len(ids)) - np.repeat(splits[:-1], np.diff(splits))
    return ids[within < np.repeat(kept, np.diff(splits))], kept


def _last_tokens(ids: np.ndarray, splits: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last `kept[i]` ids of row i, side by side, and `kept`."""
    behind = np.repeat(splits[1:], np.diff(splits)) - np.arange(len(ids))
    return ids[behind <= np.repeat(kept, np.diff(splits))], kept


def _text_bytes(tokenizer: Any, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> list[int]:
    """UTF-8 bytes of the text that the tokens of `rows` stand for."""
    of_rows = tokens[np.repeat(rows, lengths)].astype(np.int32)
    texts = tokenizer.detokenize(tf.RaggedTensor.from_row_lengths(of_rows, lengths[rows].astype(np.int64)))
    return [len(text) for text in texts.numpy()]


def _batches(items: Iterable[ItemT], size_of: Callable[[ItemT], int]) -> Iterator[list[ItemT]]:
    batch: list[ItemT] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if size >= _BATCH_BYTES or len(batch) == _BATCH_TEXTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Progress:
    """Says on stderr every few seconds how far a long build is."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()

    def show(self, text_bytes: int, tokens: int) -> None:
        now = time.monotonic()
        if now - self._said >= _PROGRESS_SECONDS:
            self._said = now
            seconds = now - self._began
            print(
                f"tokenising: {text_bytes / 1e6:.0f} MB, {tokens / 1e6:.1f} M tokens, {seconds:.0f} s", file=sys.stderr
            )
