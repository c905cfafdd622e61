"""Pretrained vectors for the embedding tables. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(Config):
    """The vectors of the embedding tables at the start of a training.

    A table is as wide as the vectors: set the model's embedding_width to their width. Learned
    weights adapt it to the model: a projection in Transformers, the input weights of the first
    layer in recurrent models.
    """

    prefix: ClassVar[str] = "embedding"

    file: str | None = field(
        None,
        "Word vectors, GloVe or word2vec text, plain or .gz, for the rows of the embedding table; "
        "pieces without a vector keep their random start. Their width must be the model's "
        "embedding_width.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    side: str = field(
        "all",
        "Which tables of an encoder-decoder they are for; a language model has one.",
        choices=("all", "source", "target"),
    )
    trainable: bool = field(
        True,
        "Train on from the vectors. false keeps the whole table as it starts, rows without a "
        "vector and special ids too, and with tied embeddings the output weights, which are the "
        "same table.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file is None and (self.side != "all" or not self.trainable):
            name = "side" if self.side != "all" else "trainable"
            given = f"--embedding.{name}={str(getattr(self, name)).lower()}"
            raise UserError(
                f"{given} without --embedding.file: expected a file of word vectors; give one or "
                "leave it out"
            )
