"""The cache of tokenized files, under a key of everything that they depend on.

`CACHE/KEY/` contains the streams of `token_streams` and `manifest.json`. KEY is the SHA-256 of the
fingerprints of the tokenizers, the options that change tokens, and name, size and SHA-256 of every
file. The folder is written as `KEY.building` and renamed when it is complete, under an exclusive
`flock` of `KEY.lock`. A second process waits and then reads. The rest of a process that was killed
is removed and built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_textgen.data import compression, files, sources, token_streams, tokenizing
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.tokenizing_processes import choose_processes
from tf_textgen.errors import UserError
from tf_textgen.file_locks import lock

_FORMAT = 3


class Shards:
    """A tokenized split on disk.

    Attributes:
      manifest: counts (`dropped`, `cut`, `empty`, `no_reply`, `replaced`, `marks`), the files with
        the SHA-256 of their uncompressed text, and the counts of each stream.
      folder: of the files.
      file_names: names of the text files, without their folders.
      streams: `text` (documents with their `<s>` and `</s>`), or `source` and `target` (ids only).
    """

    def __init__(self, folder: str, manifest: dict[str, Any]):
        self.folder = folder
        self.manifest = manifest
        self.file_names = [file["name"] for file in manifest["files"][0]]
        dtype = np.dtype(manifest["dtype"])
        self.streams = {
            name: token_streams.TokenStream(folder, name, dtype, counts)
            for name, counts in manifest["streams"].items()
        }


def open_shards(
    config: DataConfig,
    tokenizer: Any,
    split: str,
    source_tokenizer: Any = None,
    cut_bytes: int | None = None,
) -> Shards:
    """Returns the tokenized files of a split, from the cache if they are there.

    Args:
      config: names the files and defines how they are read.
      tokenizer: of documents, or of pairs.
      split: name of the split.
      source_tokenizer: of the source side of pairs; None is `tokenizer`.
      cut_bytes: as in `Documents`.

    Raises:
      UserError: if the files or the folder of the cache cannot be used, or two files contain the
        same text.
    """
    paths = sources.split_files(config, split)
    tokenizers = (source_tokenizer or tokenizer, tokenizer)
    identity = _identity(config, tokenizers, paths, cut_bytes)
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
                _build(config, tokenizers, paths, folder, identity, split)
                manifest = _read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder} changed while it was read; delete it and start again")
    return Shards(folder, manifest)


def _identity(
    config: DataConfig,
    tokenizers: tuple[Any, Any],
    paths: tuple[list[str], list[str]],
    cut_bytes: int | None,
) -> dict[str, Any]:
    """Returns everything that the tokens depend on."""
    source, target = (tokenizer.fingerprint for tokenizer in tokenizers)
    identity = {
        "format_version": _FORMAT,
        "tokenizer": target if source == target else [source, target],
        "options": {name: getattr(config, name) for name in config.token_options},
        "files": [[files.digest(path) for path in side] for side in paths],
    }
    if cut_bytes is not None:
        identity["cut_bytes"] = cut_bytes
    return identity


def _text_hashes(
    paths: tuple[list[str], list[str]], digests: list[list[dict[str, Any]]], split: str
) -> list[str]:
    """Returns the SHA-256 of the uncompressed text of each file, or of each pair of parallel files.

    Raises:
      UserError: if two files contain the same text.
    """
    hashes = []
    for side, side_digests in zip(paths, digests, strict=True):
        of_side = []
        for path, digest in zip(side, side_digests, strict=True):
            plain = compression.without_extension(path) == path
            of_side.append(digest["sha256"] if plain else compression.text_sha256(path))
        hashes.append(of_side)
    sources, targets = hashes
    found = [f"{a} {b}" for a, b in zip(sources, targets, strict=True)] if targets else sources
    first: dict[str, str] = {}
    for path, text_hash in zip(paths[0], found, strict=True):
        other = first.setdefault(text_hash, path)
        if other != path:
            raise UserError(
                f"--data.{split}: {other} and {path} contain the same text: expected each text "
                "once; leave one of them out"
            )
    return found


def _read_manifest(folder: str) -> dict[str, Any] | None:
    """Returns the manifest of a complete folder, or None if it is missing or a file has another
    size.
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
    """Holds the lock of a key. It is released when the process ends for any reason."""
    try:
        os.makedirs(cache, exist_ok=True)
        with open(os.path.join(cache, f"{key}.lock"), "ab") as file:
            lock(file, _report_waiting)
            yield
    except OSError as error:
        raise UserError(
            f"--data.cache_dir={cache}: cannot be written ({error.strerror or error}); expected a "
            "folder with room for tokenized files; name another"
        ) from error


def _report_waiting() -> None:
    print("tokenizing: waiting for another process that works on the same files", file=sys.stderr)


def _build(
    config: DataConfig,
    tokenizers: tuple[Any, Any],
    paths: tuple[list[str], list[str]],
    folder: str,
    identity: dict[str, Any],
    split: str,
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
            "text_sha256": _text_hashes(paths, identity["files"], split),
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
                config,
                tokenizers[1],
                paths,
                building,
                dtype,
                processes,
                identity.get("cut_bytes"),
            )
        manifest.update(counts)
        with open(os.path.join(building, "manifest.json"), "w", encoding="utf-8") as stream:
            json.dump(manifest, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
