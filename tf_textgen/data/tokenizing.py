"""Documents and pairs to streams of tokens on disk, a bounded part at a time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from tf_textgen.data import sources, token_streams
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.tokenized_batches import DocumentBatch, DocumentsToTokens, PairsToTokens
from tf_textgen.data.tokenizing_processes import map_batches
from tf_textgen.errors import UserError

ItemT = TypeVar("ItemT")
_BATCH_BYTES = 1 << 20  # of text tokenised at once
_BATCH_TEXTS = 8192
_PROGRESS_SECONDS = 5.0


def tokenize_documents(
    config: DataConfig,
    tokenizer: Any,
    paths: tuple[list[str], list[str]],
    folder: str,
    dtype: np.dtype,
    processes: int = 1,
) -> dict[str, Any]:
    """Writes the stream `text`: `<s> document </s>` after each other.

    Returns:
      What the manifest says of it.
    """
    progress = _Progress()
    open_bytes = 0  # of a document that goes on
    documents = sources.Documents(config, paths[0])
    work, batches = DocumentsToTokens(tokenizer, dtype), _document_batches(documents)
    with (
        token_streams.StreamWriter(folder, "text", dtype, token_streams.SHARD_TOKENS) as writer,
        contextlib.closing(map_batches(work, batches, processes)) as parts,
    ):
        for batch, (tokens, document_ends) in parts:
            totals = open_bytes + np.cumsum([len(text) for text in batch.texts])
            writer.append(tokens, document_ends, np.diff(totals[batch.ends], prepend=0))
            open_bytes = int(totals[-1] - np.max(totals[batch.ends], initial=0))
            progress.show(writer.bytes + open_bytes, writer.tokens)
        return {"streams": {"text": writer.finish()}, "replaced": documents.replaced}


def tokenize_pairs(
    config: DataConfig,
    tokenizers: tuple[Any, Any],
    paths: tuple[list[str], list[str]],
    folder: str,
    dtype: np.dtype,
    processes: int = 1,
) -> dict[str, Any]:
    """Writes the streams `source` and `target`: ids alone, the over-long pairs dropped or cut.

    Args:
      config: how the files are read.
      tokenizers: of the source and of the target.
      paths: of the pairs, and of their target side where it has files of its own.
      folder: of the streams.
      dtype: of the ids.
      processes: that tokenise.

    Returns:
      What the manifest says of them.

    Raises:
      UserError: where no pair fits.
    """
    progress = _Progress()
    over_long = 0
    pairs = sources.Pairs(config, *paths)
    work, batches = (
        PairsToTokens(config, tokenizers, dtype),
        _batches(pairs, lambda pair: len(pair[0]) + len(pair[1])),
    )
    shard_tokens = token_streams.SHARD_TOKENS
    with (
        token_streams.StreamWriter(folder, "source", dtype, shard_tokens) as source,
        token_streams.StreamWriter(folder, "target", dtype, shard_tokens) as target,
        contextlib.closing(map_batches(work, batches, processes)) as parts,
    ):
        for _, (sides, longer) in parts:
            for writer, side in zip((source, target), sides, strict=True):
                writer.append(*side)
            over_long += longer
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


def _document_batches(documents: sources.Documents) -> Iterator[DocumentBatch]:
    begins = True
    for batch in _batches(documents, lambda chunk: len(chunk.text)):
        ends = np.array([chunk.ends for chunk in batch])
        yield DocumentBatch([chunk.text for chunk in batch], np.append(begins, ends[:-1]), ends)
        begins = bool(ends[-1])


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
                f"tokenising: {text_bytes / 1e6:.0f} MB, {tokens / 1e6:.1f} M tokens, {seconds:.0f} s",
                file=sys.stderr,
            )
