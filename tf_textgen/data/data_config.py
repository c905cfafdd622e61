"""Configuration of the data: the files, their form, and the batches. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.data.dialogues import REPLIES_OF
from tf_textgen.errors import UserError

SPLITS = ("train", "valid", "test")
_TEXT_OPTIONS = ("format", "documents", "text_field", "invalid_utf8")
_PAIR_OPTIONS = (
    "format",
    "source_column",
    "target_column",
    "source_field",
    "target_field",
    "csv_header",
    "max_source_tokens",
    "max_target_tokens",
    "over_long",
    "invalid_utf8",
)
_DIALOGUE_OPTIONS = ("first_turn_column", "context_turns", "reply_of")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """The files, their form, and the shape of the batches."""

    prefix: ClassVar[str] = "data"

    corpus: str | None = field(
        None,
        "Name of a known corpus; None reads the files of data.train, data.valid and data.test.",
        may_change=True,
        per_worker=True,
    )
    train: tuple[str, ...] = field(
        (),
        "Files to train on (globs, .gz and remote paths); pairs: the source side.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    valid: tuple[str, ...] = field(
        (),
        "Files to validate on; without them, data.validation_fraction of data.train is used.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    test: tuple[str, ...] = field(
        (), "Files to test on.", path=True, may_change=True, per_worker=True
    )
    train_target: tuple[str, ...] = field(
        (),
        "Target side of data.train if data.format is parallel.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    valid_target: tuple[str, ...] = field(
        (),
        "Target side of data.valid if data.format is parallel.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    test_target: tuple[str, ...] = field(
        (),
        "Target side of data.test if data.format is parallel.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    format: str = field(
        "text",
        "text: documents. tsv, csv: one pair per row. pairs: one pair per record of JSON lines or "
        "Parquet. parallel: pairs, line by line from two files. dialogue: one dialogue per row, "
        "its turns tab-separated, or one conversation per JSON line; each reply is a pair.",
        choices=("text", "tsv", "csv", "pairs", "parallel", "dialogue"),
    )
    text_field: str | None = field(
        None,
        "Field of the text in JSON lines, Parquet or CSV files; a dotted path names a nested "
        "field. None is text.",
    )
    source_field: str | None = field(
        None, "Field of the source text in JSON lines, Parquet or CSV files; None is source."
    )
    target_field: str | None = field(
        None, "Field of the target text in JSON lines, Parquet or CSV files; None is target."
    )
    csv_header: bool = field(True, "Whether the first row of a CSV file names its columns.")
    source_column: int = field(
        1, "Column of the source text in a TSV or CSV file, counted from 1.", at_least=1
    )
    target_column: int = field(
        2, "Column of the target text in a TSV or CSV file, counted from 1.", at_least=1
    )
    first_turn_column: int = field(
        1,
        "Column of the first turn of a dialogue, counted from 1. The columns before it, for "
        "example an id, are ignored.",
        at_least=1,
    )
    context_turns: int = field(
        4,
        "Largest number of turns before a reply that are its source. The default usually fits "
        "data.max_source_tokens.",
        at_least=1,
    )
    reply_of: str = field(
        "both",
        "The speaker whose turns are learned as replies: both, first (who starts the dialogue) or "
        "second.",
        choices=REPLIES_OF,
    )
    documents: str = field(
        "blank_line",
        "The end of a document of a text file.",
        choices=("blank_line", "line", "file"),
    )
    batching: str = field(
        "windows",
        "windows: contiguous windows of the whole stream. packed: several whole documents in a "
        "row, separated for attention.",
        choices=("windows", "packed"),
    )
    carry_state: bool = field(
        False,
        "A batch has data.batch_size parallel stretches of the stream, the next batch continues "
        "them, and the model carries its state along (recurrent language models only).",
    )
    context: int = field(256, "Tokens of one row of text, as the model sees them.", at_least=1)
    batch_size: int = field(32, "Rows of one batch of text.", at_least=1)
    batch_tokens: int = field(
        4096, "Padded source and target tokens of one batch of pairs.", at_least=1
    )
    num_buckets: int = field(
        8, "Number of padded lengths, and so of compiled shapes, of batches of pairs.", at_least=1
    )
    max_source_tokens: int = field(
        256, "Longest source text in tokens, without special tokens.", at_least=1
    )
    max_target_tokens: int = field(
        256, "Longest target text in tokens, without special tokens.", at_least=1
    )
    over_long: str = field(
        "drop",
        "drop or cut pairs that are longer; their number is reported. cut: a text loses its end, "
        "the context of a reply (data.format=dialogue) its beginning.",
        choices=("drop", "cut"),
    )
    invalid_utf8: str = field(
        "error",
        "Bytes that are not UTF-8: error stops, replace writes U+FFFD instead.",
        choices=("error", "replace"),
    )
    validation_fraction: float = field(
        0.05,
        "Without data.valid: the share of the training documents or pairs, the last ones in file "
        "order, that is the validation data; 0 is none. The boundary can be inside a dialogue.",
        at_least=0.0,
        below=1.0,
    )
    cache_dir: str | None = field(
        None,
        "Local folder for tokenized files; None is tf_textgen in $XDG_CACHE_HOME or ~/.cache.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    tokenizing_processes: int = field(
        0,
        "Number of processes that tokenize; the tokens do not depend on it. 0 is one per core (at "
        "most 8) for files of 64 MB or more, and only this process for less.",
        at_least=0,
        may_change=True,
        per_worker=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batching == "packed" and self.is_pairs:
            raise UserError(
                f"--data.batching=packed with --data.format={self.format}: expected text, since "
                "pairs are put into buckets; leave --data.batching out"
            )
        if self.carry_state and (self.is_pairs or self.batching == "packed"):
            option = f"format={self.format}" if self.is_pairs else "batching=packed"
            raise UserError(
                f"--data.carry_state with --data.{option}: expected text in windows, whose order "
                "is that of the text; leave one of them out"
            )
        for split in SPLITS:
            target = self.target_patterns(split)
            if target and self.format != "parallel":
                raise UserError(
                    f"--data.{split}_target={target[0]} with --data.format={self.format}: expected "
                    "--data.format=parallel; set it or leave the target files out"
                )
            if self.format == "parallel" and bool(target) != bool(self.patterns(split)):
                given = f"{split}_target" if target else split
                missing = split if target else f"{split}_target"
                raise UserError(
                    f"--data.{given} without --data.{missing}: expected both sides of the pairs; "
                    "give both"
                )

    @property
    def is_pairs(self) -> bool:
        """Whether the files contain source and target texts."""
        return self.format != "text"

    @property
    def token_options(self) -> tuple[str, ...]:
        """The fields that determine the documents or pairs and their tokens, besides files and
        tokenizers.
        """
        if not self.is_pairs:
            return _TEXT_OPTIONS
        if self.format == "dialogue":
            return _PAIR_OPTIONS + _DIALOGUE_OPTIONS
        return _PAIR_OPTIONS

    @property
    def carried_rows(self) -> int | None:
        """Number of rows of a batch whose states continue in the next batch, or None."""
        return self.batch_size if self.carry_state else None

    def patterns(self, split: str) -> tuple[str, ...]:
        """Returns the globs of a split: of its documents, or of the source side of its pairs."""
        return getattr(self, split)

    def target_patterns(self, split: str) -> tuple[str, ...]:
        """Returns the globs of the target side of a split."""
        return getattr(self, f"{split}_target")

    def cache_folder(self) -> str:
        """Returns the folder of tokenized files."""
        if self.cache_dir is not None:
            return os.path.expanduser(self.cache_dir)
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return os.path.join(root, "tf_textgen")
