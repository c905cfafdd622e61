"""The corpora that have names: one table, and the way from a name to checked files. Imports no
TensorFlow.

A public corpus lies under `--data_dir` at the paths of the table, plain or as .gz, and is verified
by SHA-256 whenever it is named. What is missing is downloaded, verified, split and renamed into
place where the public file can be cut into exactly these splits; if it cannot, the error says
which files belong where. The embedded ones need neither network nor `--data_dir`.
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
    """Checked files of a corpus and how to read them."""

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
        """The fields of `DataConfig` that follow from the corpus: `dataclasses.replace(config,
        **data_fields())`.
        """
        fields = dataclasses.asdict(self)
        del fields["name"]
        return fields


def resolve_corpus(
    name: str, data_dir: str | None = None, cache_dir: str | None = None
) -> Resolved:
    """The files of a text corpus, found, made or downloaded, and verified.

    Args:
      name: a key of `CORPORA`.
      data_dir: folder of public corpora; not needed for embedded ones.
      cache_dir: where embedded ones are written; None is tf_textgen under $XDG_CACHE_HOME or
        ~/.cache.

    Raises:
      UserError: unknown name, not text, no `data_dir`, another checksum, no network.
    """
    corpus = _row(name)
    if corpus.format not in ("text", "tsv", "dialogue"):
        raise UserError(
            f"--data.corpus={name}: expected a corpus of texts, this one holds {corpus.task}"
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
    """`config` with the files and the form of the corpus it names; itself if it names none.

    A form other than the default that the configuration asks for (`data.documents=line`, say)
    stays.

    Raises:
      UserError: as `resolve_corpus`, and where other files are given next to the corpus.
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
    """Split -> verified path of a public corpus; downloads what is missing.

    Raises as `resolve_corpus`.
    """
    corpus = _row(name)
    if corpus.embedded:
        raise UserError(
            f"corpus {name}: expected a public one, this one is written by this program; use "
            "resolve_corpus"
        )
    if not data_dir:
        raise UserError(
            f"--data.corpus={name}: needs --data_dir, the folder that holds public corpora or "
            "shall hold them; give --data_dir=FOLDER, or take an embedded corpus: "
            + ", ".join(key for key, value in CORPORA.items() if value.embedded)
        )
    folder = os.path.join(os.path.expanduser(data_dir), corpus.folder)
    found = {split: _find(file, folder) for split, file in corpus.splits.items()}
    missing = [corpus.splits[split] for split, path in found.items() if path is None]
    if missing:
        _fetch(name, corpus, missing, folder)
    return {
        split: found[split] or os.path.join(folder, file.name)
        for split, file in corpus.splits.items()
    }


def _row(name: str) -> Corpus:
    if name not in CORPORA:
        hint = did_you_mean(name, CORPORA) or f": expected one of {', '.join(CORPORA)}"
        raise UserError(f"--data.corpus={name}: unknown corpus{hint}")
    return CORPORA[name]


def _find(file: File, folder: str) -> str | None:
    """The file's path if it is there, verified."""
    for path in (os.path.join(folder, file.name), os.path.join(folder, file.name + ".gz")):
        if os.path.exists(path):
            found = compression.text_sha256(path)
            if found != file.sha256:
                raise UserError(
                    f"{path}: SHA-256 of its text is {found}, expected {file.sha256}; move it away "
                    "and run again"
                )
            return path
    return None


def _fetch(name: str, corpus: Corpus, missing: Sequence[File], folder: str) -> None:
    """Downloads a corpus and writes its missing files."""
    if corpus.packing is None:
        wanted = ", ".join(
            f"{os.path.join(folder, file.name)} (SHA-256 {file.sha256})" for file in missing
        )
        raise UserError(
            f"corpus {name} cannot be downloaded in these splits: put there, plain or as .gz with "
            f"this SHA-256 of the unpacked text: {wanted}; its home is {corpus.url}"
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
