"""The known corpora: their origin, their files with checksums, and how to read them.

The rows are in `corpora.json`. Does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a corpus.

    Attributes:
      name: path in the folder of the corpus, without `.gz`.
      sha256: of the uncompressed text, so that it does not depend on the compression.
      member: name in the downloaded archive or public folder.
      span: first byte and the byte after the last one in the downloaded file.
    """

    name: str
    sha256: str
    member: str | None = None
    span: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """A row of the table.

    Attributes:
      task, language, licence: for people.
      folder: of its files, under the data directory.
      url: the download, or the public home page if `packing` is None.
      sha256: of the download.
      packing: how the files are extracted from the download: `zip` members, `span`s of bytes, or
        files of a public `folder`. None: the splits cannot be made from the download with
        certainty.
      splits: train, valid, test -> file.
      embedded: whether `data.embedded` makes the files on this machine.
      format, documents, source_column, target_column, first_turn_column: how to read the files, as
        in `DataConfig`.
    """

    task: str
    language: str
    licence: str
    folder: str = ""
    url: str = ""
    sha256: str | None = None
    packing: str | None = None
    splits: Mapping[str, File] = dataclasses.field(default_factory=dict)
    embedded: bool = False
    format: str = "text"
    documents: str = "blank_line"
    source_column: int = 1
    target_column: int = 2
    first_turn_column: int = 1

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Corpus:
        """Returns the corpus of a row of `corpora.json`."""
        splits = {name: _file(row) for name, row in values.get("splits", {}).items()}
        return cls(**{**values, "splits": splits})


def _file(values: Mapping[str, Any]) -> File:
    span = values.get("span")
    return File(**{**values, "span": tuple(span) if span else None})


def _read() -> dict[str, Corpus]:
    text = importlib.resources.files(__package__).joinpath("corpora.json").read_text("utf-8")
    return {name: Corpus.from_json(row) for name, row in json.loads(text).items()}


CORPORA: Mapping[str, Corpus] = _read()
