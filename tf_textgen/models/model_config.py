"""The part of the model contract that is known before TensorFlow is imported.

Does not import TensorFlow.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from tf_textgen.config import Config, flag_name
from tf_textgen.errors import UserError


class ContextLimit(NamedTuple):
    """The longest row that a model reads.

    Attributes:
      tokens: length of the row.
      flag: name of the flag that sets it.
      is_trained: whether each position has weights of its own, which only rows of that length
        train.
    """

    tokens: int
    flag: str
    is_trained: bool


class ModelConfig(Config):
    """The configuration of a model family, which is a dataclass and a subclass of this class.

    The annotated fields are declared by each family: their order is that of `config.json`.

    Attributes:
      kind: "language_model" (continues a text) or "encoder_decoder" (reads a source, writes a
        target).
      trained_by: "gradients" (updates of an optimizer, within a budget) or "counting" (one pass
        over the data, which also sets the sizes of the model).
      carries_state: whether the state after a batch can be passed to the next batch
        (`TextModel.call_carried`).
      supports_xla: whether XLA compiles the model.
      has_embeddings: whether the model has tables of token vectors (`TextModel.embeddings`).
      vocabulary_size: number of token ids.
      pad_id: id of padding.
    """

    kind: ClassVar[str] = "language_model"
    trained_by: ClassVar[str] = "gradients"
    carries_state: ClassVar[bool] = False
    supports_xla: ClassVar[bool] = True
    has_embeddings: ClassVar[bool] = True

    vocabulary_size: int
    pad_id: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pad_id >= self.vocabulary_size:
            raise UserError(
                f"pad_id={self.pad_id}: expected an id below vocabulary_size={self.vocabulary_size}"
            )

    @property
    def context_limit(self) -> ContextLimit | None:
        """The longest row that the model reads; None if its length is not limited."""
        return None


class EncoderDecoderConfig(ModelConfig):
    """The configuration of a family that reads a source and writes a target.

    Attributes:
      source_vocabulary_size: number of source tokens; None if both sides share a vocabulary.
      shared_embeddings: whether source and target share one embedding.
    """

    kind: ClassVar[str] = "encoder_decoder"

    source_vocabulary_size: int | None
    shared_embeddings: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        sources = self.source_vocabulary
        if self.pad_id >= sources:
            raise UserError(
                f"pad_id={self.pad_id}: expected an id below source_vocabulary_size={sources}"
            )
        if self.shared_embeddings and sources != self.vocabulary_size:
            flag = flag_name(type(self), "shared_embeddings")
            raise UserError(
                f"--{flag} with {sources} source and {self.vocabulary_size} target tokens: "
                f"expected one vocabulary for both; use one tokenizer or --{flag}=false"
            )

    @property
    def source_vocabulary(self) -> int:
        """Number of source tokens."""
        return self.source_vocabulary_size or self.vocabulary_size
