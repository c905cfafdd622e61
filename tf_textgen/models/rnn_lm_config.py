"""Configuration of the recurrent language model. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import field, required
from tf_textgen.errors import UserError
from tf_textgen.models.model_config import ModelConfig
from tf_textgen.models.rnn_seq2seq_config import CELLS


@dataclasses.dataclass(frozen=True, kw_only=True)
class RNNLMConfig(ModelConfig):
    """Sizes and parts of `RNNLM`; the defaults are an LSTM of the shape of Zaremba et al. 2014."""

    prefix: ClassVar[str] = "rnn_lm"
    carries_state: ClassVar[bool] = True

    vocabulary_size: int = field(required, "Number of token ids.", at_least=1, flag=False)
    pad_id: int = field(0, "Id of padding.", at_least=0, flag=False)
    cell: str = field("lstm", "Recurrent cell of all layers.", choices=CELLS)
    num_layers: int = field(2, "Stacked recurrent layers.", at_least=1)
    width: int = field(256, "Units of a layer.", at_least=1)
    embedding_width: int | None = field(
        None, "Width of the token embedding; width if not set.", at_least=1
    )
    tied_embeddings: bool = field(
        True,
        "Use the token embedding as the output projection too, behind a projection to its width "
        "if that differs (Press and Wolf 2017).",
    )
    dropout: float = field(
        0.2,
        "Share of zeros in embeddings, between layers and before the logits, never along time "
        "(Zaremba et al. 2014).",
        at_least=0.0,
        below=1.0,
    )
    recurrent_dropout: float = field(
        0.0,
        "Share of the hidden state dropped along time, the same units at all steps of a row (Gal "
        "and Ghahramani 2016).",
        at_least=0.0,
        below=1.0,
    )
    layer_norm: bool = field(
        False,
        "Normalise what each layer reads and what the top one gives out (after Ba et al. 2016).",
    )
    residual: bool = field(
        False,
        "Each layer above the bottom adds what it reads to what it gives out (Wu et al. 2016).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual and self.num_layers == 1:
            raise UserError(
                "--rnn_lm.residual with --rnn_lm.num_layers=1: expected at least 2 layers, the "
                "bottom one has no residual; add layers or leave it out"
            )

    @property
    def token_width(self) -> int:
        """Width E of the token embedding."""
        return self.embedding_width or self.width
