"""The files of a split, the pairs in them, and the texts that a vocabulary is built from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

from tf_textgen.data import dialogues, files, records
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.documents import Documents
from tf_textgen.data.text_file import TextFile, is_blank
from tf_textgen.errors import UserError


def split_files(config: DataConfig, split: str) -> tuple[list[str], list[str]]:
    """Returns the files of a split, and those of its target side, which only the format parallel
    has.
    """
    if not config.patterns(split):
        raise UserError(
            f"no data for the split {split!r}: expected files; set --data.{split} or --data.corpus"
        )
    sources = files.expand(config.patterns(split), f"data.{split}")
    targets = files.expand(config.target_patterns(split), f"data.{split}_target")
    if config.format == "parallel" and len(sources) != len(targets):
        raise UserError(
            f"--data.{split} names {len(sources)} files and --data.{split}_target {len(targets)}: "
            "expected one target file for each source file"
        )
    return sources, targets


def training_texts(
    config: DataConfig, side: Literal["source", "target"] | None = None
) -> Iterator[bytes]:
    """Yields the texts that a vocabulary is built from: the training documents or pairs.

    Args:
      config: names the files.
      side: of the pairs; None is both. Of a dialogue every turn is yielded once, although several
        contexts contain it.
    """
    sources, targets = split_files(config, "train")
    if not config.is_pairs:
        for chunk in Documents(config, sources):
            yield chunk.text
    elif config.format == "dialogue" and side != "target":
        # Files without a reply are an error before a vocabulary is built.
        next(iter(Pairs(config, sources, targets)))
        for path in sources:
            for turns in _Dialogues(path, config):
                yield dialogues.context(turns).encode()
    else:
        for source, target in Pairs(config, sources, targets):
            if side != "target":
                yield source
            if side != "source":
                yield target


class Pairs:
    """The pairs of source and target text of files, in order.

    Blank rows are skipped. A pair with a blank side is left out, and a dialogue without a reply.

    Attributes:
      replaced: number of lines so far with bytes that were not UTF-8.
      marks: number of byte order marks so far that are inside a line.
      empty: number of pairs so far that are left out.
      no_reply: number of dialogues so far without a reply.
    """

    def __init__(self, config: DataConfig, sources: Sequence[str], targets: Sequence[str] = ()):
        self.replaced = 0
        self.marks = 0
        self.empty = 0
        self.no_reply = 0
        self._config = config
        self._sources = sources
        self._targets = targets

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        found = False
        for source, target in self._with_empty():
            if is_blank(source) or is_blank(target):
                self.empty += 1
            else:
                found = True
                yield source, target
        if not found:
            raise self._no_pairs()

    def _with_empty(self) -> Iterator[tuple[bytes, bytes]]:
        """Yields the pairs, including those with a blank side."""
        if self._config.format == "parallel":
            for source, target in zip(self._sources, self._targets, strict=True):
                yield from self._parallel(source, target)
            return
        for path in self._sources:
            if self._config.format == "dialogue":
                yield from self._replies(path)
            elif records.is_record_file(path, self._config):
                yield from self._records(path)
            else:
                yield from self._table(path)

    def _no_pairs(self) -> UserError:
        """Returns the error for files without a pair that are not blank."""
        first = self._sources[0]
        config = self._config
        if self.empty:
            return UserError(
                f"{first}: all {self.empty} pairs have an empty source or target: expected texts "
                "on both sides; check the files and their columns"
            )
        return UserError(
            f"{first}: none of the {self.no_reply} dialogues has a reply "
            f"(--data.reply_of={config.reply_of}, "
            f"--data.first_turn_column={config.first_turn_column}): expected at least two turns a "
            "row; check the files and these flags"
        )

    def _table(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        source = self._config.source_column - 1
        target = self._config.target_column - 1
        file = TextFile(path, self._config.invalid_utf8)
        found = False
        for row in table_rows(file, self._config):
            found = True
            yield row[source], row[target]
        self._count(file)
        if not found:
            raise UserError(
                f"{path} contains only blank lines: expected pairs; check the file or leave it out"
            )

    def _records(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        source = self._config.source_field or records.SOURCE_FIELD
        target = self._config.target_field or records.TARGET_FIELD
        reader = records.RecordFile(path, self._config)
        for record in reader:
            yield reader.text(record, source), reader.text(record, target)
        self.replaced += reader.replaced

    def _replies(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        config = self._config
        read = _Dialogues(path, config)
        for turns in read:
            replies = list(dialogues.examples(turns, config.context_turns, read.reply_of))
            self.no_reply += not replies
            for context, reply in replies:
                yield context.encode(), reply.encode()
        self.replaced += read.replaced

    def _parallel(self, source: str, target: str) -> Iterator[tuple[bytes, bytes]]:
        source_file = TextFile(source, self._config.invalid_utf8)
        target_file = TextFile(target, self._config.invalid_utf8)
        source_lines = source_file.lines()
        target_lines = target_file.lines()
        pairs = itertools.zip_longest(source_lines, target_lines)
        for count, (source_line, target_line) in enumerate(pairs):
            if source_line is None or target_line is None:
                rest = source_lines if target_line is None else target_lines
                longer = count + 1 + sum(1 for _ in rest)
                source_count = longer if target_line is None else count
                target_count = longer if source_line is None else count
                path = source if target_line is None else target
                raise UserError(
                    f"{source} has {source_count} lines and {target} {target_count}: expected as "
                    f"many; the first line without a partner is {path}:{count + 1}"
                )
            yield source_line[1], target_line[1]
        self._count(source_file)
        self._count(target_file)

    def _count(self, file: TextFile) -> None:
        self.replaced += file.replaced
        self.marks += file.marks


def table_rows(file: TextFile, config: DataConfig) -> Iterator[list[bytes]]:
    """Yields the columns of each row of a TSV or CSV file that is not blank.

    Raises:
      UserError: if a row lacks the column of the source or of the target.
    """
    columns = {"source_column": config.source_column, "target_column": config.target_column}
    name, fewest = max(columns.items(), key=lambda column: column[1])
    separated = "comma-separated" if config.format == "csv" else "tab-separated"
    for place, row in _rows(file, config):
        if len(row) < fewest:
            raise UserError(
                f"{place}: {len(row)} {separated} column{'s' * (len(row) > 1)}, expected at least "
                f"{fewest} (--data.{name}={fewest}); correct the row or the column"
            )
        yield row


def _rows(file: TextFile, config: DataConfig) -> Iterator[tuple[str, list[bytes]]]:
    if config.format == "csv":
        rows = records.csv_rows(file.path, config)
        if config.csv_header:
            next(rows, None)
        yield from rows
        return
    for number, line in file.lines():
        if not is_blank(line):
            yield f"{file.path}:{number}", line.split(b"\t")


class _Dialogues:
    """The turns of each dialogue of a file of rows or of conversations.

    Attributes:
      reply_of: the speaker whose turns are replies. In conversations these are the turns of the
        assistant, unless the configuration names the first speaker.
      replaced: number of lines so far with bytes that were not UTF-8.
    """

    def __init__(self, path: str, config: DataConfig):
        self.replaced = 0
        self.reply_of = config.reply_of
        self._path = path
        self._config = config
        self._has_records = records.is_record_file(path, config)
        if self._has_records and config.reply_of == "both":
            self.reply_of = "second"

    def __iter__(self) -> Iterator[list[str]]:
        found = False
        for turns in self._conversations() if self._has_records else self._rows():
            found = True
            yield turns
        if not found:
            raise UserError(
                f"{self._path} contains only blank lines: expected dialogues; check the file or "
                "leave it out"
            )

    def _rows(self) -> Iterator[list[str]]:
        file = TextFile(self._path, self._config.invalid_utf8)
        for _, line in file.lines():
            if not is_blank(line):
                yield dialogues.turns_of(line.decode(), self._config.first_turn_column)
        self.replaced += file.replaced

    def _conversations(self) -> Iterator[list[str]]:
        reader = records.RecordFile(self._path, self._config)
        for record in reader:
            yield records.conversation_turns(reader, record)
        self.replaced += reader.replaced
