"""Tokenization of documents and pairs to streams on disk, with bounded memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from tf_textgen.data import sources, token_streams
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.documents import Documents
from tf_textgen.data.tokenized_batches import DocumentBatch, DocumentsToTokens, PairsToTokens
from tf_textgen.data.tokenizing_processes import map_batches
from tf_textgen.errors import UserError
from tf_textgen.progress_line import ProgressLine

ItemT = TypeVar("ItemT")
_BATCH_BYTES = 1 << 20  # of text that is tokenized at once
_BATCH_TEXTS = 8192
_PROGRESS_SECONDS = 5.0


def tokenize_documents(
    config: DataConfig,
    tokenizer: Any,
    paths: tuple[list[str], list[str]],
    folder: str,
    dtype: np.dtype,
    processes: int = 1,
    cut_bytes: int | None = None,
) -> dict[str, Any]:
    """Writes the stream `text`: `<s> document </s> <s> document </s> ...`.

    Args:
      config: how the files are read.
      tokenizer: of the documents.
      paths: of the documents; the second list is empty.
      folder: of the stream.
      dtype: of the ids.
      processes: number of processes that tokenize.
      cut_bytes: as in `Documents`.

    Returns:
      The counts for the manifest.
    """
    progress = _Progress()
    documents = Documents(config, paths[0], cut_bytes)
    to_tokens = DocumentsToTokens(tokenizer, dtype)
    batches = _document_batches(documents)
    # Of a document that continues in the next batch.
    open_bytes = 0
    open_unknown = 0
    with (
        token_streams.StreamWriter(folder, "text", dtype, token_streams.SHARD_TOKENS) as writer,
        contextlib.closing(map_batches(to_tokens, batches, processes)) as results,
    ):
        for batch, (tokens, document_ends, unknown) in results:
            sizes = np.array([len(text) for text in batch.texts])
            ended, open_bytes = _per_document(sizes, batch.ends, open_bytes)
            ended_unknown, open_unknown = _per_document(unknown, batch.ends, open_unknown)
            writer.append(tokens, document_ends, ended, ended_unknown)
            progress.show(writer.bytes + open_bytes, writer.tokens)
        return {
            "streams": {"text": writer.finish()},
            "replaced": documents.replaced,
            "marks": documents.marks,
            "empty": documents.empty,
        }


def _per_document(values: np.ndarray, ends: np.ndarray, open_value: int) -> tuple[np.ndarray, int]:
    """Sums the values of chunks over documents.

    Args:
      values: `[N]` of the chunks.
      ends: `[N]` bool, whether a document ends with the chunk.
      open_value: sum of the chunks before, of a document that continues.

    Returns:
      The sums of the documents that end, and the sum of the one that continues.
    """
    totals = open_value + np.cumsum(values)
    ended = totals[ends]
    rest = int(totals[-1] - np.max(ended, initial=0))
    return np.diff(ended, prepend=0), rest


def tokenize_pairs(
    config: DataConfig,
    tokenizers: tuple[Any, Any],
    paths: tuple[list[str], list[str]],
    folder: str,
    dtype: np.dtype,
    processes: int = 1,
) -> dict[str, Any]:
    """Writes the streams `source` and `target`: ids only. Over-long pairs are dropped or cut.

    Args:
      config: how the files are read.
      tokenizers: of the sources and of the targets.
      paths: of the pairs, and of their target side if it has its own files.
      folder: of the streams.
      dtype: of the ids.
      processes: number of processes that tokenize.

    Returns:
      The counts for the manifest.

    Raises:
      UserError: if no pair fits.
    """
    progress = _Progress()
    over_long = 0
    pairs = sources.Pairs(config, *paths)
    to_tokens = PairsToTokens(config, tokenizers, dtype)
    batches = _batches(pairs, lambda pair: len(pair[0]) + len(pair[1]))
    shard_tokens = token_streams.SHARD_TOKENS
    with (
        token_streams.StreamWriter(folder, "source", dtype, shard_tokens) as source,
        token_streams.StreamWriter(folder, "target", dtype, shard_tokens) as target,
        contextlib.closing(map_batches(to_tokens, batches, processes)) as results,
    ):
        for _, ((source_part, target_part), longer) in results:
            source.append(*source_part)
            target.append(*target_part)
            over_long += longer
            progress.show(source.bytes + target.bytes, source.tokens + target.tokens)
        streams = {"source": source.finish(), "target": target.finish()}
    if not target.documents:
        raise UserError(
            f"{paths[0][0]}: all {over_long} pairs exceed "
            f"--data.max_source_tokens={config.max_source_tokens} or "
            f"--data.max_target_tokens={config.max_target_tokens}: expected some that fit; raise "
            "these or set --data.over_long=cut"
        )
    return {
        "streams": streams,
        "dropped" if config.over_long == "drop" else "cut": over_long,
        "replaced": pairs.replaced,
        "marks": pairs.marks,
        "empty": pairs.empty,
        "no_reply": pairs.no_reply,
    }


def _document_batches(documents: Documents) -> Iterator[DocumentBatch]:
    starts = True
    for batch in _batches(documents, lambda chunk: len(chunk.text)):
        texts = [chunk.text for chunk in batch]
        ends = np.array([chunk.ends for chunk in batch])
        yield DocumentBatch(texts, np.append(starts, ends[:-1]), ends)
        starts = bool(ends[-1])


def _batches(items: Iterable[ItemT], size_of: Callable[[ItemT], int]) -> Iterator[list[ItemT]]:
    batch: list[ItemT] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if size >= _BATCH_BYTES or len(batch) == _BATCH_TEXTS:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch


class _Progress:
    """Prints the progress of a long tokenization on standard error, every few seconds."""

    def __init__(self) -> None:
        self._line = ProgressLine(period_s=_PROGRESS_SECONDS)
        self._start = time.monotonic()

    def show(self, text_bytes: int, tokens: int) -> None:
        if self._line.is_due():
            megabytes = text_bytes / 1e6
            seconds = time.monotonic() - self._start
            self._line.write(
                f"tokenizing: {megabytes:.0f} MB, {tokens / 1e6:.1f} M tokens, {seconds:.0f} s"
            )
