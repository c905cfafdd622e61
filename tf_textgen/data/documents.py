"""The documents of text files and of records, as streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tf_textgen.data import records
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.text_file import TextFile, is_blank
from tf_textgen.errors import UserError

CHUNK_BYTES = 1 << 18  # a longer document is read in chunks


class Chunk(NamedTuple):
    """A document, or a part of one that is longer than `CHUNK_BYTES`.

    Attributes:
      text: of the chunk; the chunks of a document, joined, are the document.
      ends: whether the document ends here.
    """

    text: bytes
    ends: bool


class Documents:
    """The documents of files, in order.

    In a text file a document is every line that is not blank (`documents=line`), the lines between
    blank lines, joined by newlines (`blank_line`), or the whole file (`file`). In JSON lines,
    Parquet and CSV it is the field `text_field` of each record.

    Documents that are longer than `CHUNK_BYTES` are read in several chunks, so that memory is
    bounded and they can be tokenized in parts. They are cut at the end of a line, or if a line is
    longer, after a space or between characters. A tokenizer whose tokens could cross such a place
    gives other tokens there than for the whole.

    Args:
      config: how the files are read.
      paths: of the files.
      cut_bytes: if given, the first document ends at the first line end after this many bytes, and
        the rest of it is a document of its own.

    Attributes:
      replaced: number of lines so far with bytes that were not UTF-8.
      marks: number of byte order marks so far that are inside a line.
      empty: number of records so far that are left out because their text is blank.
    """

    def __init__(self, config: DataConfig, paths: Sequence[str], cut_bytes: int | None = None):
        self.replaced = 0
        self.marks = 0
        self.empty = 0
        self._config = config
        self._paths = paths
        self._cut_bytes = cut_bytes

    def __iter__(self) -> Iterator[Chunk]:
        for path in self._paths:
            has_text = False
            for chunk in self._of_file(path):
                has_text = True
                yield chunk
            if not has_text:
                raise UserError(
                    f"{path} contains only blank lines: expected text; check the file or leave it "
                    "out"
                )

    def _of_file(self, path: str) -> Iterator[Chunk]:
        if records.is_record_file(path, self._config):
            for text in self._of_records(path):
                yield from _text_chunks(text)
            return
        file = TextFile(path, self._config.invalid_utf8)
        yield from _chunks(file, self._config.documents, self._cut_bytes)
        self.replaced += file.replaced
        self.marks += file.marks

    def _of_records(self, path: str) -> Iterator[bytes]:
        reader = records.RecordFile(path, self._config)
        for record in reader:
            text = reader.text(record, self._config.text_field or records.TEXT_FIELD)
            if is_blank(text):
                self.empty += 1
            else:
                yield text
        self.replaced += reader.replaced


def _text_chunks(text: bytes) -> Iterator[Chunk]:
    """Yields a text in chunks that are cut between characters."""
    while len(text) > CHUNK_BYTES:
        cut = CHUNK_BYTES
        while text[cut] & 0xC0 == 0x80:
            cut -= 1
        yield Chunk(text[:cut], False)
        text = text[cut:]
    yield Chunk(text, True)


def _chunks(file: TextFile, documents: str, cut_bytes: int | None) -> Iterator[Chunk]:
    """Yields the chunks of the documents of a text file."""
    held: list[bytes] = []
    size = 0
    document_bytes = 0
    inside = False
    for piece in file.pieces():
        past_cut = cut_bytes is not None and document_bytes >= cut_bytes
        if inside and piece.begins and past_cut:
            yield Chunk(b"".join(held), True)
            held = []
            size = 0
            inside = False
            cut_bytes = None
        if documents != "file" and piece.begins and is_blank(piece.text):
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
        size += len(text)
        document_bytes += len(text)
        inside = True
        ends = documents == "line" and piece.ends
        if ends or size >= CHUNK_BYTES:
            yield Chunk(b"".join(held), ends)
            held = []
            size = 0
            inside = not ends
    if inside:
        yield Chunk(b"".join(held), True)
