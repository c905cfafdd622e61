"""Pairs as texts, to judge generated ones by: each source with all references there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tf_textgen.data import files, sources
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError


class Example(NamedTuple):
    """A source and what it may become."""

    source: str
    references: tuple[str, ...]


def read_examples(
    config: DataConfig, split: str, *, part: slice = slice(None), further_columns: bool = False
) -> list[Example]:
    """The pairs of a split's files, those after each other with the same source as one example.

    Nothing is tokenised, so what is over-long for training is there too. Rows with a blank side are left out.

    Args:
      config: how the files are read.
      split: its name.
      part: of these pairs, where a validation part is cut from the training files.
      further_columns: columns of a TSV file after the target, but for the source's, are more references; empty ones
        are none.

    Raises:
      UserError: where the files cannot be used or hold no pair.
    """
    if further_columns and config.format != "tsv":
        raise UserError(
            f"--further_references with --data.format={config.format}: expected tsv, whose rows have further columns"
        )
    paths = sources.split_files(config, split)
    rows = _wide_rows(config, paths[0]) if further_columns else _pairs(config, paths)
    kept = [row for row in rows if row.source.strip() and row.references][part]
    if not kept:
        raise UserError(
            f"{paths[0][0]}: no pair with text on both sides: expected some; check the columns"
        )
    return _grouped(kept)


def _pairs(config: DataConfig, paths: tuple[list[str], list[str]]) -> Iterator[Example]:
    for source, target in sources.Pairs(config, *paths):
        yield _example(source, [target])


def _wide_rows(config: DataConfig, paths: Sequence[str]) -> Iterator[Example]:
    """The rows of TSV files with all columns from the target on, but for that of the source."""
    source, target = config.source_column - 1, config.target_column - 1
    for path in paths:
        for row in sources.table_rows(files.TextFile(path, config.invalid_utf8), config):
            further = [
                text for column, text in enumerate(row) if column > target and column != source
            ]
            yield _example(row[source], [row[target], *further])


def _example(source: bytes, references: Sequence[bytes]) -> Example:
    return Example(source.decode(), tuple(text.decode() for text in references if text.strip()))


def _grouped(rows: Sequence[Example]) -> list[Example]:
    found: list[Example] = []
    for row in rows:
        if found and found[-1].source == row.source:
            found[-1] = Example(row.source, found[-1].references + row.references)
        else:
            found.append(row)
    return found
