"""Puts pretrained word vectors into the embedding tables of a new model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_textgen.data import files
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.data.word_vectors import WordVectors, read_word_vectors
from tf_textgen.errors import UserError
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.models.base import TextModel
from tf_textgen.runs.embedding_config import EmbeddingConfig
from tf_textgen.text.tokenizer import Tokenizer

_BLOCK_TOKENS = 1 << 20


class Coverage(NamedTuple):
    """How much of a table came from the file.

    Attributes:
      table: name of the layer.
      matched, rows: ids with a vector, and ids with a text of their own.
      token_share: part of the training text's tokens that have a vector, in [0, 1].
    """

    table: str
    matched: int
    rows: int
    token_share: float

    def __str__(self) -> str:
        share = self.matched / max(self.rows, 1)
        return (
            f"{self.table.replace('_', ' ')}: {self.matched:,} of {self.rows:,} ids ({share:.1%}) "
            f"and {self.token_share:.1%} of the training tokens begin with a word vector"
        )


def vectors_digest(config: EmbeddingConfig) -> dict[str, Any] | None:
    """Name, size and SHA-256 of the file, by which a run knows it; None if there is none.

    Raises:
      UserError: if it is not there, or more than one file.
    """
    if config.file is None:
        return None
    paths = files.expand([config.file], "embedding.file")
    if len(paths) > 1:
        raise UserError(
            f"--embedding.file={config.file}: names {len(paths)} files, expected one; give its own "
            "name"
        )
    return files.digest(paths[0])


def load_word_vectors(
    model: TextModel,
    path: str,
    side: str,
    tokenizers: Mapping[str, Tokenizer],
    train: TokenizedSplit,
) -> list[Coverage]:
    """Sets the rows of the tables whose pieces the file has: as they are written, else lower-cased.

    A SentencePiece piece is looked up without its spaces. The other rows are not touched.

    Args:
      model: built.
      path: the file.
      side: as in `EmbeddingConfig`.
      tokenizers: of the "source" and the "target"; a language model's is the target's.
      train: training data, of which coverage is reported.

    Returns:
      The coverage of each table.

    Raises:
      UserError: if the file cannot be used, has another width than a table, or no word of a
        table.
    """
    tables = model.embedding_tables(side)
    words = {}
    for name, table in tables.items():
        is_target = table is model.embeddings()["target"]
        words[name] = words_of(tokenizers["target" if is_target else "source"])
    wanted = {
        form for some in words.values() for word in some if word for form in (word, word.lower())
    }
    found = read_word_vectors(path, wanted)
    return [
        _fill(table, words[name], found, path, _token_counts(model, table, train))
        for name, table in tables.items()
    ]


def words_of(tokenizer: Tokenizer) -> list[str | None]:
    """The text of each id without spaces around it; None if there is none, and for special ids."""
    special = {
        tokenizer.pad_id,
        tokenizer.unk_id,
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.sep_id,
    }
    pieces = [piece.decode(errors="ignore").strip(" ") for piece in tokenizer.pieces.numpy()]
    return [None if index in special else piece or None for index, piece in enumerate(pieces)]


def _fill(
    table: TokenEmbedding,
    words: Sequence[str | None],
    found: WordVectors,
    path: str,
    counts: np.ndarray,
) -> Coverage:
    """Sets the rows of one table; `counts` are those of its ids in the training text."""
    if found.width != table.width:
        raise UserError(
            f"--embedding.file={path}: vectors of width {found.width}, expected {table.width}, the "
            f"width of the {table.name.replace('_', ' ')}; set the model's "
            f"embedding_width={found.width}"
        )
    values = table.table.numpy()
    matched = np.zeros(len(words), bool)
    for index, word in enumerate(words):
        vector = None if word is None else found.vectors.get(word, found.vectors.get(word.lower()))
        if vector is not None:
            values[index] = vector
            matched[index] = True
    if not matched.any():
        raise UserError(
            f"--embedding.file={path}: none of its {found.total:,} words is one of the "
            f"{len(words):,} pieces of the {table.name.replace('_', ' ')}; expected vectors of the "
            "text's language; take another file, or choose --embedding.side"
        )
    table.table.assign(values)
    rows = sum(word is not None for word in words)
    return Coverage(
        table.name, int(matched.sum()), rows, float(counts[matched].sum() / max(counts.sum(), 1))
    )


def _token_counts(model: TextModel, table: TokenEmbedding, split: TokenizedSplit) -> np.ndarray:
    """Counts each id that `table` reads in the training text, marks of its structure not
    counted: `[V]`.
    """
    counts = np.zeros(table.vocabulary_size, np.int64)
    for name, stream in split.shards.streams.items():
        # A stream of a corpus without pairs is "text", which the table of a language model reads.
        if table is model.embeddings().get(name, table):
            start, stop = (int(stream.offsets[place]) for place in (split.first, split.last))
            for first in range(start, stop, _BLOCK_TOKENS):
                block = stream.read(first, min(first + _BLOCK_TOKENS, stop))
                counts += np.bincount(block, minlength=table.vocabulary_size)
    counts[[split.pad_id, split.bos_id, split.eos_id, split.sep_id]] = 0
    return counts
