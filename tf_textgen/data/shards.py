"""Tokenised files, made once and kept under a key of everything they depend on.

`CACHE/KEY/` holds the streams of `token_streams` and `manifest.json`; KEY is the SHA-256 of the tokenizer's
fingerprint, the options that change tokens, and the name, size and content hash of every file. It is written as
`KEY.building` and renamed when whole, under an exclusive `flock` of `KEY.lock`: a second process waits and then reads,
and what a killed one left is built anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_textgen.data import files, sources, token_streams
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError

_FORMAT = 1
_BATCH_BYTES = 1 << 20  # of text tokenised at once
_BATCH_TEXTS = 8192
_PROGRESS_SECONDS = 5.0
_TEXT_OPTIONS = ("format", "documents", "invalid_utf8")
_PAIR_OPTIONS = (
    "format",
    "source_column",
    "target_column",
    "max_source_tokens",
    "max_target_tokens",
    "over_long",
    "invalid_utf8",
)


class Shards:
    """A tokenised split on disk.

    Attributes:
      manifest: counts (`dropped`, `cut`, `replaced`), files, and the counts of each stream.
      streams: `text` (documents with their `<s>` and `</s>`), or `source` and `target` (ids alone).
    """

    def __init__(self, folder: str, manifest: dict[str, Any]):
        self.manifest = manifest
        dtype = np.dtype(manifest["dtype"])
        self.streams = {
            name: token_streams.TokenStream(folder, name, dtype, counts) for name, counts in manifest["streams"].items()
        }


def open_shards(config: DataConfig, tokenizer: Any, split: str) -> Shards:
    """The tokenised files of `split`, from the cache or made now.

    Raises:
      UserError: where the files, or the cache's folder, cannot be used.
    """
    paths = sources.split_files(config, split)
    identity = _identity(config, tokenizer, paths)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    cache = config.cache_folder()
    if files.is_remote(cache):
        raise UserError(f"--data.cache_dir={cache}: expected a folder on a local disk; name one")
    folder = os.path.join(cache, key)
    manifest = _read_manifest(folder)
    if manifest is None:
        with _locked(cache, key):
            manifest = _read_manifest(folder)  # another process may have built it meanwhile
            if manifest is None:
                _build(config, tokenizer, paths, folder, identity)
                manifest = _read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder}: changed while it was read; expected a cache that stays; delete it and start again")
    return Shards(folder, manifest)


def _identity(config: DataConfig, tokenizer: Any, paths: tuple[list[str], list[str]]) -> dict[str, Any]:
    options = _PAIR_OPTIONS if config.is_pairs else _TEXT_OPTIONS
    return {
        "format_version": _FORMAT,
        "tokenizer": tokenizer.fingerprint,
        "options": {name: getattr(config, name) for name in options},
        "files": [[files.digest(path) for path in side] for side in paths],
    }


def _read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of a whole cache folder; None where it is missing or a file has not the size it should have."""
    try:
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as stream:
            manifest = json.load(stream)
        dtype = np.dtype(manifest["dtype"])
        for name, counts in manifest["streams"].items():
            for file, size in token_streams.file_sizes(name, dtype, counts).items():
                if os.path.getsize(os.path.join(folder, file)) != size:
                    return None
    except (OSError, ValueError, KeyError):
        return None
    return manifest


@contextlib.contextmanager
def _locked(cache: str, key: str) -> Iterator[None]:
    try:
        os.makedirs(cache, exist_ok=True)
        lock = open(os.path.join(cache, f"{key}.lock"), "ab")  # noqa: SIM115
    except OSError as error:
        raise UserError(
            f"--data.cache_dir={cache}: cannot be written ({error.strerror}); expected a folder to keep tokenised "
            "files in; name another"
        ) from error
    with lock:  # closing it releases it, and so does the end of the process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("tokenising: waiting for another process that works on the same files", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(
    config: DataConfig, tokenizer: Any, paths: tuple[list[str], list[str]], folder: str, identity: dict[str, Any]
) -> None:
    building = folder + ".building"
    for leftover in (building, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    os.makedirs(building)
    try:
        dtype = token_streams.token_dtype(tokenizer.vocabulary_size)
        manifest = {**identity, "dtype": dtype.str, "dropped": 0, "cut": 0}
        build = _build_pairs if config.is_pairs else _build_text
        manifest.update(build(config, tokenizer, paths, building, dtype))
        with open(os.path.join(building, "manifest.json"), "w", encoding="utf-8") as stream:
            json.dump(manifest, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _build_text(
    config: DataConfig, tokenizer: Any, paths: tuple[list[str], list[str]], folder: str, dtype: np.dtype
) -> dict[str, Any]:
    writer = token_streams.StreamWriter(folder, "text", dtype)
    progress = _Progress()
    begins, open_bytes = True, 0
    documents = sources.Documents(config, paths[0])
    for batch in _batches(documents, lambda chunk: len(chunk.text)):
        ids, splits = tokenize(tokenizer, [chunk.text for chunk in batch])
        ends = np.array([chunk.ends for chunk in batch])
        starts = np.append(begins, ends[:-1])
        tokens, places = _wrapped(ids, splits, starts, ends, tokenizer.bos_id, tokenizer.eos_id)
        totals = (open_bytes + np.cumsum([len(chunk.text) for chunk in batch]))[ends]
        writer.append(tokens, places, np.diff(totals, prepend=0))
        open_bytes += sum(len(chunk.text) for chunk in batch) - (int(totals[-1]) if totals.size else 0)
        begins = bool(ends[-1])
        progress.show(writer.bytes + open_bytes, writer.tokens)
    return {"streams": {"text": writer.close()}, "replaced": documents.replaced}


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


def _build_pairs(
    config: DataConfig, tokenizer: Any, paths: tuple[list[str], list[str]], folder: str, dtype: np.dtype
) -> dict[str, Any]:
    writers = [token_streams.StreamWriter(folder, name, dtype) for name in ("source", "target")]
    limits = (config.max_source_tokens, config.max_target_tokens)
    progress = _Progress()
    over_long = 0
    pairs = sources.Pairs(config, *paths)
    for batch in _batches(pairs, lambda pair: len(pair[0]) + len(pair[1])):
        sides = [tokenize(tokenizer, [pair[side] for pair in batch]) for side in (0, 1)]
        lengths = [np.diff(splits) for _, splits in sides]
        longer = [length > limit for length, limit in zip(lengths, limits, strict=True)]
        either = longer[0] | longer[1]
        over_long += int(either.sum())
        for side, writer in enumerate(writers):
            sizes = np.array([len(pair[side]) for pair in batch])
            if config.over_long == "drop":
                kept = np.where(either, 0, lengths[side])
                tokens = _first_tokens(*sides[side], kept)
                kept, sizes = kept[~either], sizes[~either]
            else:
                kept = np.minimum(lengths[side], limits[side])
                tokens = _first_tokens(*sides[side], kept)
                sizes[longer[side]] = _text_bytes(tokenizer, tokens, kept, longer[side])
            writer.append(tokens, np.cumsum(kept), sizes)
        progress.show(sum(writer.bytes for writer in writers), sum(writer.tokens for writer in writers))
    counts = dict(zip(("source", "target"), [writer.close() for writer in writers], strict=True))
    if not counts["target"]["documents"]:
        raise UserError(
            f"{paths[0][0]}: all {over_long} pairs exceed --data.max_source_tokens={limits[0]} or "
            f"--data.max_target_tokens={limits[1]}: expected some that fit; raise these or set --data.over_long=cut"
        )
    fate = {"drop": "dropped", "cut": "cut"}[config.over_long]
    return {"streams": counts, "replaced": pairs.replaced, fate: over_long}


def tokenize(tokenizer: Any, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all texts side by side `[N]`, and where each text begins `[len(texts) + 1]`."""
    ragged = tokenizer.tokenize(np.array(texts, dtype=object))
    return ragged.flat_values.numpy(), ragged.row_splits.numpy()


def _first_tokens(ids: np.ndarray, splits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The first `kept[i]` ids of row i, side by side."""
    within = np.arange(len(ids)) - np.repeat(splits[:-1], np.diff(splits))
    return ids[within < np.repeat(kept, np.diff(splits))]


def _text_bytes(tokenizer: Any, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> list[int]:
    """UTF-8 bytes of the text that the tokens of `rows` stand for."""
    places = token_streams.ragged_places(lengths)
    sizes = []
    for row in np.flatnonzero(rows):
        (text,) = tokenizer.detokenize(tokens[None, places[row] : places[row + 1]].astype(np.int32)).numpy()
        sizes.append(len(text))
    return sizes


def _batches(items: Any, size_of: Any) -> Iterator[list[Any]]:
    batch: list[Any] = []
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
