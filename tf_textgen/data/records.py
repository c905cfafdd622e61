"""Files of records with named fields: JSON lines, CSV and Parquet."""

from __future__ import annotations

import csv
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tf_textgen.data import compression, files
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.text_file import TextFile, is_blank
from tf_textgen.errors import UserError

TEXT_FIELD = "text"
SOURCE_FIELD = "source"
TARGET_FIELD = "target"
_JSON_EXTENSIONS = (".jsonl", ".ndjson")
_PARQUET_EXTENSIONS = (".parquet",)
_CSV_EXTENSIONS = (".csv",)
_SHOWN_FIELDS = 10
# The roles of the two speakers in the two common forms of conversations.
_FIRST_SPEAKER = ("user", "human")
_SECOND_SPEAKER = ("assistant", "gpt", "model", "bot")
_SYSTEM = ("system",)


class Record(NamedTuple):
    """A record.

    Attributes:
      place: `FILE:NUMBER`, for messages.
      fields: name -> value.
    """

    place: str
    fields: Mapping[str, Any]


def is_record_file(path: str, config: DataConfig) -> bool:
    """Returns whether a file contains records with named fields.

    JSON lines and Parquet files are recognized by their extension. Other files are JSON lines (or
    CSV, by their extension) if the configuration names a field.
    """
    if config.format == "pairs" or config.text_field or config.source_field or config.target_field:
        return True
    return _extension(path) in _JSON_EXTENSIONS + _PARQUET_EXTENSIONS


class RecordFile:
    """The records of a file, in order.

    Args:
      path: the file.
      config: how it is read.

    Attributes:
      replaced: number of texts so far that were not valid Unicode.
    """

    def __init__(self, path: str, config: DataConfig):
        self.path = path
        self.replaced = 0
        self._config = config

    def __iter__(self) -> Iterator[Record]:
        """Yields the records; raises `UserError` for one that is broken."""
        extension = _extension(self.path)
        if extension in _PARQUET_EXTENSIONS:
            return self._parquet()
        if extension in _CSV_EXTENSIONS:
            return self._csv()
        return self._json_lines()

    def text(self, record: Record, field: str) -> bytes:
        """Returns the text of a field.

        Args:
          record: of this file.
          field: its name, or a dotted path to a nested field.

        Raises:
          UserError: if the record has no such field, or its value is not a string.
        """
        value: Any = record.fields
        for name in [field] if field in record.fields else field.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise UserError(
                    f"{record.place}: no field {field!r}: expected one of {_names(record.fields)}; "
                    "set --data.text_field, or --data.source_field and --data.target_field"
                )
            value = value[name]
        return self.encode(record, field, value)

    def encode(self, record: Record, field: str, value: Any) -> bytes:
        """Returns a string value as UTF-8, and None as an empty text."""
        if value is None:
            return b""
        if not isinstance(value, str):
            raise UserError(
                f"{record.place}: field {field!r} is {type(value).__name__}: expected a string"
            )
        if "\0" in value:
            raise UserError(
                f"{record.place}: field {field!r} contains the character NUL: expected text"
            )
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            if self._config.invalid_utf8 == "error":
                raise UserError(
                    f"{record.place}: field {field!r} contains half a character (a lone "
                    "surrogate): expected text; correct it or set --data.invalid_utf8=replace"
                ) from error
            self.replaced += 1
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()

    def _json_lines(self) -> Iterator[Record]:
        file = TextFile(self.path, self._config.invalid_utf8)
        for number, line in file.lines():
            if is_blank(line):
                continue
            place = f"{self.path}:{number}"
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"{place}: not valid JSON ({error}): expected one JSON object per line; "
                    "correct the line"
                ) from error
            if not isinstance(fields, Mapping):
                raise UserError(
                    f"{place}: {type(fields).__name__}: expected a JSON object per line"
                )
            yield Record(place, fields)
        self.replaced += file.replaced

    def _csv(self) -> Iterator[Record]:
        rows = csv_rows(self.path, self._config)
        _, header = next(rows)
        names = [name.decode() for name in header]
        for place, row in rows:
            yield Record(place, dict(zip(names, [value.decode() for value in row], strict=False)))

    def _parquet(self) -> Iterator[Record]:
        if files.is_remote(self.path):
            raise UserError(
                f"{self.path}: expected a local file, since Parquet is read by random access"
            )
        try:
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise UserError(
                f"{self.path}: a Parquet file needs the package pyarrow: "
                "pip install 'tf_textgen[formats]'"
            ) from error
        number = 0
        try:
            with parquet.ParquetFile(self.path) as opened:
                for batch in opened.iter_batches(batch_size=1024):
                    for fields in batch.to_pylist():
                        number += 1
                        yield Record(f"{self.path}:{number}", fields)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"cannot read {self.path}: {reason}; expected a Parquet file"
            ) from error


def csv_rows(path: str, config: DataConfig) -> Iterator[tuple[str, list[bytes]]]:
    """Yields the place and the columns of each row of a CSV file that is not blank.

    Values are quoted as in RFC 4180: a quoted value can contain commas, quotes and newlines.

    Raises:
      UserError: if the quoting is broken.
    """
    file = TextFile(path, config.invalid_utf8)
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line.decode() + "\n" for _, line in file.lines()), strict=True)
    try:
        for row in reader:
            if any(not is_blank(value.encode()) for value in row):
                yield f"{path}:{reader.line_num}", [value.encode() for value in row]
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not valid CSV ({error}): expected values with commas, "
            "quotes or newlines in double quotes; correct the row"
        ) from error


def conversation_turns(reader: RecordFile, record: Record) -> list[str]:
    """Returns the turns of a conversation, which alternate between its two speakers.

    The record has `messages`, each with `role` and `content`, or `conversations`, each with `from`
    and `value`. Text of the system is put before the first turn of the user. Consecutive turns of a
    speaker are joined. The first turn is that of the user, and empty if the assistant starts.

    Raises:
      UserError: if the record has another form.
    """
    turns: list[str] = []
    system: list[str] = []
    for role, text in _messages(reader, record):
        if role in _SYSTEM:
            system.append(text)
            continue
        speaker = _speaker(role, record)
        if speaker == 0 and system:
            text = "\n".join([*system, text])
            system = []
        if len(turns) % 2 == speaker:
            turns.append(text)
        elif turns:
            turns[-1] = f"{turns[-1]}\n{text}"
        else:
            turns += ["", text]
    return turns


def _messages(reader: RecordFile, record: Record) -> Iterator[tuple[str, str]]:
    for field, role_name, text_name in (
        ("messages", "role", "content"),
        ("conversations", "from", "value"),
    ):
        if field not in record.fields:
            continue
        messages = record.fields[field]
        if not isinstance(messages, Sequence) or isinstance(messages, str):
            raise UserError(f"{record.place}: {field!r} is no list: expected a list of messages")
        for message in messages:
            if not isinstance(message, Mapping) or {role_name, text_name} - set(message):
                raise UserError(
                    f"{record.place}: a message without {role_name!r} or {text_name!r}: expected "
                    "both"
                )
            text = reader.encode(record, text_name, message[text_name]).decode()
            yield str(message[role_name]), text.strip()
        return
    raise UserError(
        f"{record.place}: no conversation: expected 'messages' or 'conversations', found "
        f"{_names(record.fields)}"
    )


def _speaker(role: str, record: Record) -> int:
    """Returns 0 for the user and 1 for the assistant."""
    if role in _FIRST_SPEAKER:
        return 0
    if role in _SECOND_SPEAKER:
        return 1
    known = ", ".join(_SYSTEM + _FIRST_SPEAKER + _SECOND_SPEAKER)
    raise UserError(f"{record.place}: role {role!r}: expected one of {known}")


def _names(fields: Mapping[str, Any]) -> str:
    names = list(fields)
    shown = ", ".join(names[:_SHOWN_FIELDS])
    return f"{shown}, ..." if len(names) > _SHOWN_FIELDS else shown or "no fields"


def _extension(path: str) -> str:
    return os.path.splitext(compression.without_extension(path))[1].lower()
