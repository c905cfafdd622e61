"""Corpora by name: from a row of the table to checked files. Does not import TensorFlow.

The files of a public corpus are in `--data_dir`, at the paths of the table, plain or as `.gz`. They
are verified by SHA-256 whenever the corpus is used. Missing files are downloaded, verified, split
and renamed if the download can be cut into exactly these splits. Otherwise the error names the
files and their places. Embedded corpora need neither a network nor `--data_dir`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tf_textgen.config import did_you_mean
from tf_textgen.data import compression, embedded, fetch
from tf_textgen.data.corpus_table import CORPORA, Corpus, File
from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """The verified files of a corpus, and how to read them."""

    name: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    format: str
    documents: str
    source_column: int
    target_column: int
    first_turn_column: int

    def data_fields(self) -> dict[str, Any]:
        """Returns the fields of `DataConfig` that follow from the corpus, for
        `dataclasses.replace`.
        """
        fields = dataclasses.asdict(self)
        del fields["name"]
        return fields


def resolve_corpus(
    name: str, data_dir: str | None = None, cache_dir: str | None = None
) -> Resolved:
    """Finds, makes or downloads the files of a text corpus, and verifies them.

    Args:
      name: a key of `CORPORA`.
      data_dir: folder of public corpora; embedded corpora do not need it.
      cache_dir: folder for embedded corpora; None is tf_textgen in $XDG_CACHE_HOME or ~/.cache.

    Raises:
      UserError: if the name is unknown or that of no text, `data_dir` is missing, a checksum
        differs, or the download fails.
    """
    corpus = _row(name)
    if corpus.format not in ("text", "tsv", "dialogue"):
        raise UserError(
            f"--data.corpus={name}: expected a corpus of texts, this one is {corpus.task}"
        )
    found: Mapping[str, Sequence[str]]
    if corpus.embedded:
        found = embedded.write(name, cache_dir or DataConfig().cache_folder())
    else:
        found = {split: (path,) for split, path in files(name, data_dir).items()}
    return Resolved(
        name=name,
        train=tuple(found.get("train", ())),
        valid=tuple(found.get("valid", ())),
        test=tuple(found.get("test", ())),
        format=corpus.format,
        documents=corpus.documents,
        source_column=corpus.source_column,
        target_column=corpus.target_column,
        first_turn_column=corpus.first_turn_column,
    )


def with_corpus(config: DataConfig, data_dir: str | None = None) -> DataConfig:
    """Adds the files of the corpus that a configuration names, and how to read them.

    Fields that differ from their default, for example `data.documents=line`, are kept. A
    configuration that names no corpus is returned unchanged.

    Raises:
      UserError: as `resolve_corpus`, and if the configuration also names files.
    """
    if config.corpus is None:
        return config
    fields = resolve_corpus(config.corpus, data_dir, config.cache_folder()).data_fields()
    for split in SPLITS:
        given = getattr(config, split)
        if given and given != fields[split]:
            raise UserError(
                f"--data.{split}={given[0]} with --data.corpus={config.corpus}: expected one of "
                "them; leave one out"
            )
    defaults = {entry.name: entry.default for entry in dataclasses.fields(config)}
    for name in ("format", "documents", "source_column", "target_column", "first_turn_column"):
        if getattr(config, name) != defaults[name]:
            fields[name] = getattr(config, name)
    return dataclasses.replace(config, **fields)


def files(name: str, data_dir: str | None) -> dict[str, str]:
    """Returns split -> verified path of a public corpus, and downloads missing files.

    Raises:
      UserError: as `resolve_corpus`.
    """
    corpus = _row(name)
    if corpus.embedded:
        raise UserError(
            f"corpus {name}: expected a public corpus, this one is made on this machine; use "
            "resolve_corpus"
        )
    if not data_dir:
        raise UserError(
            f"--data.corpus={name} needs --data_dir, the folder of public corpora; give "
            f"--data_dir=FOLDER, or use an embedded corpus: {', '.join(_embedded_names())}"
        )
    folder = os.path.join(os.path.expanduser(data_dir), corpus.folder)
    found = {split: _find(file, folder) for split, file in corpus.splits.items()}
    missing = [corpus.splits[split] for split, path in found.items() if path is None]
    if missing:
        _fetch(name, corpus, missing, folder)
    paths = {}
    for split, file in corpus.splits.items():
        paths[split] = found[split] or os.path.join(folder, file.name)
    return paths


def _embedded_names() -> list[str]:
    return [name for name, corpus in CORPORA.items() if corpus.embedded]


def _row(name: str) -> Corpus:
    if name not in CORPORA:
        hint = did_you_mean(name, CORPORA) or f": expected one of {', '.join(CORPORA)}"
        raise UserError(f"--data.corpus={name}: unknown corpus{hint}")
    return CORPORA[name]


def _find(file: File, folder: str) -> str | None:
    """Returns the path of a file if it exists, and verifies it."""
    for path in (os.path.join(folder, file.name), os.path.join(folder, file.name + ".gz")):
        if os.path.exists(path):
            found = compression.text_sha256(path)
            if found != file.sha256:
                raise UserError(
                    f"{path}: the SHA-256 of its text is {found}, expected {file.sha256}; move it "
                    "away and run again"
                )
            return path
    return None


def _fetch(name: str, corpus: Corpus, missing: Sequence[File], folder: str) -> None:
    """Downloads a corpus and writes its missing files."""
    if corpus.packing is None:
        wanted = []
        for file in missing:
            wanted.append(f"{os.path.join(folder, file.name)} (SHA-256 {file.sha256})")
        raise UserError(
            f"corpus {name} cannot be downloaded in these splits: put the files there, plain or as "
            f".gz, with this SHA-256 of the uncompressed text: {', '.join(wanted)}; the home page "
            f"is {corpus.url}"
        )
    if corpus.packing == "folder":
        for file in missing:
            path = os.path.join(folder, file.name)
            os.replace(fetch.download(f"{corpus.url}{file.member}", file.sha256, folder), path)
        return
    downloaded = fetch.download(corpus.url, corpus.sha256 or "", folder)
    try:
        for file in missing:
            path = os.path.join(folder, file.name)
            if file.member is not None:
                with fetch.open_member(downloaded, file.member) as stream:
                    fetch.copy_stream(stream, path, file.sha256)
            else:
                fetch.copy_span(
                    downloaded, file.span or (0, os.path.getsize(downloaded)), path, file.sha256
                )
    finally:
        os.remove(downloaded)
