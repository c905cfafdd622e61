"""Tokenized files, made once and kept under a key of everything they depend on.

`CACHE/KEY/` holds the streams of `token_streams` and `manifest.json`; KEY is the SHA-256 of the
tokenizers' fingerprints, the options that change tokens, and the name, size and content hash of
every file. It is written as
`KEY.building` and renamed when whole, under an exclusive `flock` of `KEY.lock`: a second process
waits and then reads, and what a killed one left is built again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_textgen.data import files, sources, token_streams, tokenizing
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.tokenizing_processes import choose_processes
from tf_textgen.errors import UserError

_FORMAT = 2


class Shards:
    """A tokenized split on disk.

    Attributes:
      manifest: counts (`dropped`, `cut`, `empty`, `no_reply`, `replaced`), files, and the counts of
        each stream.
      streams: `text` (documents with their `<s>` and `</s>`), or `source` and `target` (ids only).
    """

    def __init__(self, folder: str, manifest: dict[str, Any]):
        self.manifest = manifest
        dtype = np.dtype(manifest["dtype"])
        self.streams = {
            name: token_streams.TokenStream(folder, name, dtype, counts)
            for name, counts in manifest["streams"].items()
        }


def open_shards(
    config: DataConfig, tokenizer: Any, split: str, source_tokenizer: Any = None
) -> Shards:
    """The tokenized files of `split`, from the cache or made now.

    Args:
      config: names the files and says how they are read.
      tokenizer: of documents, or of pairs.
      split: its name.
      source_tokenizer: of the source side of pairs; None is `tokenizer`.

    Raises:
      UserError: if the files, or the cache's folder, cannot be used.
    """
    paths = sources.split_files(config, split)
    tokenizers = (source_tokenizer or tokenizer, tokenizer)
    identity = _identity(config, tokenizers, paths)
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
                _build(config, tokenizers, paths, folder, identity)
                manifest = _read_manifest(folder)
    if manifest is None:
        raise UserError(
            f"{folder}: changed while it was read; expected a cache that stays; delete it and "
            "start again"
        )
    return Shards(folder, manifest)


def _identity(
    config: DataConfig, tokenizers: tuple[Any, Any], paths: tuple[list[str], list[str]]
) -> dict[str, Any]:
    source, target = (tokenizer.fingerprint for tokenizer in tokenizers)
    return {
        "format_version": _FORMAT,
        "tokenizer": target if source == target else [source, target],
        "options": {name: getattr(config, name) for name in config.token_options},
        "files": [[files.digest(path) for path in side] for side in paths],
    }


def _read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of a whole cache folder; None if it is missing or a file has not the size it
    should have.
    """
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
    """Holds the lock of `key`; the end of the process, however it comes, lets go of it too."""
    try:
        os.makedirs(cache, exist_ok=True)
        with open(os.path.join(cache, f"{key}.lock"), "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(
                    "tokenizing: waiting for another process that works on the same files",
                    file=sys.stderr,
                )
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(
            f"--data.cache_dir={cache}: cannot be written ({error.strerror or error}); expected a "
            "folder with room for tokenized files; name another"
        ) from error


def _build(
    config: DataConfig,
    tokenizers: tuple[Any, Any],
    paths: tuple[list[str], list[str]],
    folder: str,
    identity: dict[str, Any],
) -> None:
    building = folder + ".building"
    for leftover in (building, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    os.makedirs(building)
    try:
        dtype = token_streams.token_dtype(
            max(tokenizer.vocabulary_size for tokenizer in tokenizers)
        )
        manifest = {
            **identity,
            "dtype": dtype.str,
            "dropped": 0,
            "cut": 0,
            "empty": 0,
            "no_reply": 0,
        }
        text_bytes = sum(file["size"] for side in identity["files"] for file in side)
        processes = choose_processes(config.tokenizing_processes, text_bytes)
        if config.is_pairs:
            counts = tokenizing.tokenize_pairs(
                config, tokenizers, paths, building, dtype, processes
            )
        else:
            counts = tokenizing.tokenize_documents(
                config, tokenizers[1], paths, building, dtype, processes
            )
        manifest.update(counts)
        with open(os.path.join(building, "manifest.json"), "w", encoding="utf-8") as stream:
            json.dump(manifest, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
