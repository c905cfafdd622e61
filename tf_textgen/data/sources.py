"""Documents and pairs of texts (dialogues are pairs too) out of files, as streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tf_textgen.data import dialogues, files
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError

CHUNK_BYTES = 1 << 18  # a longer document comes in chunks


class Chunk(NamedTuple):
    """A document, or a part of one longer than `CHUNK_BYTES`: the parts joined are the document."""

    text: bytes
    ends: bool  # whether the document ends here


def split_files(config: DataConfig, split: str) -> tuple[list[str], list[str]]:
    """The files of `split`, and those of its target side (none unless the format is parallel)."""
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
    """What a vocabulary is built from: the training documents (long ones in chunks), or the pairs.

    Args:
      config: names the files.
      side: of the pairs; None is both. Of a dialogue, every turn comes once, though several
        contexts hold it.
    """
    sources, targets = split_files(config, "train")
    if not config.is_pairs:
        for chunk in Documents(config, sources):
            yield chunk.text
    elif config.format == "dialogue" and side != "target":
        next(
            iter(Pairs(config, sources, targets))
        )  # dialogues without a reply are reported before a vocabulary is built
        for path in sources:
            for turns in _dialogues(
                files.TextFile(path, config.invalid_utf8), config.first_turn_column
            ):
                yield dialogues.context(turns).encode()
    else:
        for pair in Pairs(config, sources, targets):
            yield from pair if side is None else (pair[side == "target"],)


def table_rows(file: files.TextFile, config: DataConfig) -> Iterator[list[bytes]]:
    """The columns of each row of a TSV file that is not blank; it has those of the source and the
    target.
    """
    columns = {"source_column": config.source_column, "target_column": config.target_column}
    name, fewest = max(columns.items(), key=lambda column: column[1])
    for number, line in file.lines():
        if not line.strip():
            continue
        row = line.split(b"\t")
        if len(row) < fewest:
            raise UserError(
                f"{file.path}:{number}: {len(row)} tab-separated column{'s' * (len(row) > 1)}, "
                f"expected at least {fewest} (--data.{name}={fewest}); correct the row or the "
                "column"
            )
        yield row


class Documents:
    """The documents of text files.

    `documents=line`: every line that is not blank. `blank_line`: the lines between blank ones,
      joined by newlines.
    `file`: the whole file as it stands. A line with white space only is blank.

    Documents longer than `CHUNK_BYTES` come in several chunks, so that memory is bounded and they
    can be tokenized a
    part at a time: they are cut at the end of a line, or where a line is longer than that, after a
    space, or between characters. A tokenizer whose tokens could reach across such a place gives
    other tokens there than for the whole.

    Attributes:
      replaced: number of lines whose bytes were not UTF-8, so far.
    """

    def __init__(self, config: DataConfig, paths: Sequence[str]):
        self.replaced = 0
        self._config = config
        self._paths = paths

    def __iter__(self) -> Iterator[Chunk]:
        for path in self._paths:
            file = files.TextFile(path, self._config.invalid_utf8)
            count = 0
            for chunk in _chunks(file, self._config.documents):
                yield chunk
                count += 1
            self.replaced += file.replaced
            if not count:
                raise UserError(
                    f"{path} holds blank lines only: expected text; check the file or leave it out"
                )


class Pairs:
    """The pairs of source and target text of TSV, parallel or dialogue files, in order.

    Blank rows of a TSV or dialogue file are skipped. A pair with a side that is empty or white
    space alone teaches nothing and is left out, as is a dialogue in which nobody replies.

    Attributes:
      replaced: number of lines whose bytes were not UTF-8, so far.
      empty: number of pairs left out, so far.
      no_reply: number of dialogues without a reply, so far.
    """

    def __init__(self, config: DataConfig, sources: Sequence[str], targets: Sequence[str] = ()):
        self.replaced = self.empty = self.no_reply = 0
        self._config = config
        self._sources = sources
        self._targets = targets

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        found = False
        for pair in self._all():
            if any(not side.decode().strip() for side in pair):
                self.empty += 1
            else:
                found = True
                yield pair
        if not found:
            raise self._nothing()

    def _all(self) -> Iterator[tuple[bytes, bytes]]:
        """The pairs, those with an empty side too."""
        if self._config.format == "parallel":
            for source, target in zip(self._sources, self._targets, strict=True):
                yield from self._parallel(source, target)
        else:
            read = self._replies if self._config.format == "dialogue" else self._table
            for source in self._sources:
                yield from read(source)

    def _nothing(self) -> UserError:
        """Why there is no pair in files that are not blank."""
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
            f"--data.first_turn_column={config.first_turn_column}): expected at least two "
            "tab-separated turns a row; check the files and these flags"
        )

    def _table(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        file = files.TextFile(path, self._config.invalid_utf8)
        count = 0
        for row in table_rows(file, self._config):
            yield row[self._config.source_column - 1], row[self._config.target_column - 1]
            count += 1
        self.replaced += file.replaced
        if not count:
            raise UserError(
                f"{path} holds blank lines only: expected pairs; check the file or leave it out"
            )

    def _replies(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        config = self._config
        file = files.TextFile(path, config.invalid_utf8)
        for turns in _dialogues(file, config.first_turn_column):
            replies = list(dialogues.examples(turns, config.context_turns, config.reply_of))
            self.no_reply += not replies
            for context, reply in replies:
                yield context.encode(), reply.encode()
        self.replaced += file.replaced

    def _parallel(self, source: str, target: str) -> Iterator[tuple[bytes, bytes]]:
        two = [files.TextFile(path, self._config.invalid_utf8) for path in (source, target)]
        streams = [file.lines() for file in two]
        for count, rows in enumerate(itertools.zip_longest(*streams)):
            if None in rows:
                longer = 0 if rows[1] is None else 1
                counts = [count, count]
                counts[longer] += 1 + sum(1 for _ in streams[longer])
                raise UserError(
                    f"{source} has {counts[0]} lines and {target} {counts[1]}: expected as many; "
                    f"the first line without a partner is {two[longer].path}:{count + 1}"
                )
            yield rows[0][1], rows[1][1]
        self.replaced += sum(file.replaced for file in two)


def _dialogues(file: files.TextFile, first_turn_column: int) -> Iterator[list[str]]:
    """The turns of each row that is not blank."""
    found = False
    for _, line in file.lines():
        if line.strip():
            found = True
            yield dialogues.turns_of(line.decode(), first_turn_column)
    if not found:
        raise UserError(
            f"{file.path} holds blank lines only: expected dialogues; check the file or leave it "
            "out"
        )


def _chunks(file: files.TextFile, documents: str) -> Iterator[Chunk]:
    held: list[bytes] = []
    size = 0
    inside = False
    for piece in file.pieces():
        if documents != "file" and piece.begins and not piece.text.strip():
            if inside:
                yield Chunk(b"".join(held), True)
                held = []
                size = 0
                inside = False
            continue
        text = piece.text
        if documents == "file":
            text += b"\n" * piece.ends
        elif inside and piece.begins:
            text = b"\n" + text
        held.append(text)
        size = size + len(text)
        inside = True
        ends = documents == "line" and piece.ends
        if ends or size >= CHUNK_BYTES:
            yield Chunk(b"".join(held), ends)
            held = []
            size = 0
            inside = not ends
    if inside:
        yield Chunk(b"".join(held), True)
