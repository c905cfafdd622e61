"""What is read and how it becomes batches. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.data.dialogues import REPLIES_OF
from tf_textgen.errors import UserError

SPLITS = ("train", "valid", "test")
_TEXT_OPTIONS = ("format", "documents", "invalid_utf8")
_PAIR_OPTIONS = (
    "format",
    "source_column",
    "target_column",
    "max_source_tokens",
    "max_target_tokens",
    "over_long",
    "invalid_utf8",
)
_DIALOGUE_OPTIONS = ("first_turn_column", "context_turns", "reply_of")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Files, their form, and the shape of the batches."""

    prefix: ClassVar[str] = "data"

    corpus: str | None = field(
        None, "Name of a known corpus; None reads the files given by data.train and its like."
    )
    train: tuple[str, ...] = field(
        (), "Files to train on (globs, .gz and remote paths too); pairs: the source side."
    )
    valid: tuple[str, ...] = field(
        (), "Files to validate on; none cuts data.validation_fraction from data.train."
    )
    test: tuple[str, ...] = field((), "Files to test on.")
    train_target: tuple[str, ...] = field(
        (), "Target side of data.train where data.format is parallel."
    )
    valid_target: tuple[str, ...] = field(
        (), "Target side of data.valid where data.format is parallel."
    )
    test_target: tuple[str, ...] = field(
        (), "Target side of data.test where data.format is parallel."
    )
    format: str = field(
        "text",
        "text: documents. tsv: pairs, one tab-separated row each. parallel: pairs, line by line from two files. "
        "dialogue: one dialogue a row, its turns tab-separated; each reply is a pair.",
        choices=("text", "tsv", "parallel", "dialogue"),
    )
    source_column: int = field(
        1, "Column of the source text in a TSV file, counted from 1.", at_least=1
    )
    target_column: int = field(
        2, "Column of the target text in a TSV file, counted from 1.", at_least=1
    )
    first_turn_column: int = field(
        1,
        "Column of a dialogue's first turn, counted from 1; those before it (an id, say) are no turns.",
        at_least=1,
    )
    context_turns: int = field(
        4,
        "Turns before a reply that are its source, at most; the default mostly fits data.max_source_tokens.",
        at_least=1,
    )
    reply_of: str = field(
        "both",
        "Whose turns are replies to learn: those of both speakers, of the first (who began), or of the second.",
        choices=REPLIES_OF,
    )
    documents: str = field(
        "blank_line", "What ends a document of a text file.", choices=("blank_line", "line", "file")
    )
    batching: str = field(
        "windows",
        "windows: contiguous stretches of the whole stream. packed: whole documents side by side, apart for attention.",
        choices=("windows", "packed"),
    )
    carry_state: bool = field(
        False,
        "A batch is data.batch_size stretches of the stream side by side, the next one goes on where it ended, and the "
        "model's state with it (recurrent language models alone).",
    )
    context: int = field(256, "Tokens of one row of text, as the model sees them.", at_least=1)
    batch_size: int = field(32, "Rows of one batch of text.", at_least=1)
    batch_tokens: int = field(
        4096, "Padded source and target tokens of one batch of pairs.", at_least=1
    )
    num_buckets: int = field(
        8, "Number of padded lengths, thus of compiled shapes, of batches of pairs.", at_least=1
    )
    max_source_tokens: int = field(
        256, "Longest source text in tokens, special ones not counted.", at_least=1
    )
    max_target_tokens: int = field(
        256, "Longest target text in tokens, special ones not counted.", at_least=1
    )
    over_long: str = field(
        "drop",
        "What happens to pairs longer than that; both are counted and reported. cut: a text loses its end, but the "
        "context of a reply (data.format=dialogue) its beginning.",
        choices=("drop", "cut"),
    )
    invalid_utf8: str = field(
        "error",
        "Bytes that are not UTF-8: stop, or replace them by U+FFFD.",
        choices=("error", "replace"),
    )
    validation_fraction: float = field(
        0.05,
        "Without data.valid: this last part of the training documents, or pairs (in file order) validates; 0 is none. "
        "The cut may go through one dialogue.",
        at_least=0.0,
        below=1.0,
    )
    cache_dir: str | None = field(
        None,
        "Local folder for tokenised files; None is tf_textgen under $XDG_CACHE_HOME or ~/.cache.",
    )
    tokenizing_processes: int = field(
        0,
        "Processes that tokenise, which changes no token; 0 is one a core (8 at most) for files of 64 MB or more, "
        "and this process alone for less.",
        at_least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batching == "packed" and self.is_pairs:
            raise UserError(
                f"--data.batching=packed with --data.format={self.format}: expected text; pairs are put into buckets, "
                "leave data.batching out"
            )
        if self.carry_state and (self.is_pairs or self.batching == "packed"):
            what = f"format={self.format}" if self.is_pairs else "batching=packed"
            raise UserError(
                f"--data.carry_state with --data.{what}: expected text in windows, whose order is that of the text; "
                "leave one of them out"
            )
        for split in SPLITS:
            target = self.target_patterns(split)
            if target and self.format != "parallel":
                raise UserError(
                    f"--data.{split}_target={target[0]}: given with --data.format={self.format}, expected "
                    "--data.format=parallel; set it or leave the target files out"
                )
            if self.format == "parallel" and bool(target) != bool(self.patterns(split)):
                have, lack = (f"{split}_target", split) if target else (split, f"{split}_target")
                raise UserError(
                    f"--data.{have} without --data.{lack}: expected both sides of the pairs; give both"
                )

    @property
    def is_pairs(self) -> bool:
        """Whether the files hold source and target texts."""
        return self.format != "text"

    @property
    def token_options(self) -> tuple[str, ...]:
        """The fields that decide, beside files and tokenizers, which documents or pairs there are and their tokens."""
        if not self.is_pairs:
            return _TEXT_OPTIONS
        return _PAIR_OPTIONS + _DIALOGUE_OPTIONS if self.format == "dialogue" else _PAIR_OPTIONS

    @property
    def carried_rows(self) -> int | None:
        """Rows of a batch whose states go on in the next one; None if none do."""
        return self.batch_size if self.carry_state else None

    def patterns(self, split: str) -> tuple[str, ...]:
        """The globs of `split`: of its documents, or of the source side of its pairs."""
        return getattr(self, split)

    def target_patterns(self, split: str) -> tuple[str, ...]:
        """The globs of the target side of `split`."""
        return getattr(self, f"{split}_target")

    def cache_folder(self) -> str:
        """Where tokenised files are kept."""
        if self.cache_dir is not None:
            return os.path.expanduser(self.cache_dir)
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return os.path.join(root, "tf_textgen")
