"""Pairs as texts, for the evaluation of generated texts: each source with all of its references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tf_textgen.data import sources
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.text_file import TextFile, is_blank
from tf_textgen.errors import UserError


class Example(NamedTuple):
    """A source and its references."""

    source: str
    references: tuple[str, ...]


def read_examples(
    config: DataConfig, split: str, *, part: slice = slice(None), further_columns: bool = False
) -> list[Example]:
    """Reads the pairs of a split. Consecutive pairs with the same source are one example.

    Nothing is tokenized, so pairs that are over-long for training are included. Rows with a blank
    side are left out.

    Args:
      config: how the files are read.
      split: name of the split.
      part: the pairs to keep, if validation is a part of the training files.
      further_columns: whether the columns of a TSV file after the target, except that of the
        source, are further references. Empty columns are ignored.

    Raises:
      UserError: if the files cannot be used or contain no pair.
    """
    if further_columns and config.format not in ("tsv", "csv"):
        raise UserError(
            f"--further_references with --data.format={config.format}: expected "
            "--data.format=tsv or csv, whose rows have further columns"
        )
    paths = sources.split_files(config, split)
    rows = _wide_rows(config, paths[0]) if further_columns else _pairs(config, paths)
    kept = [row for row in rows if row.source.strip() and row.references][part]
    if not kept:
        raise UserError(f"{paths[0][0]}: no pair has text on both sides; check the columns")
    return _grouped(kept)


def _pairs(config: DataConfig, paths: tuple[list[str], list[str]]) -> Iterator[Example]:
    for source, target in sources.Pairs(config, *paths):
        yield _example(source, [target])


def _wide_rows(config: DataConfig, paths: Sequence[str]) -> Iterator[Example]:
    """Yields the rows of TSV files with all columns from the target on, except that of
    the source.
    """
    source = config.source_column - 1
    target = config.target_column - 1
    for path in paths:
        for row in sources.table_rows(TextFile(path, config.invalid_utf8), config):
            further = [
                text for column, text in enumerate(row) if column > target and column != source
            ]
            yield _example(row[source], [row[target], *further])


def _example(source: bytes, references: Sequence[bytes]) -> Example:
    texts = tuple(text.decode() for text in references if not is_blank(text))
    return Example(source.decode(), texts)


def _grouped(rows: Sequence[Example]) -> list[Example]:
    found: list[Example] = []
    for row in rows:
        if found and found[-1].source == row.source:
            found[-1] = Example(row.source, found[-1].references + row.references)
        else:
            found.append(row)
    return found
