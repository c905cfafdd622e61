"""Configuration of the recurrent encoder-decoder. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import field, required
from tf_textgen.errors import UserError
from tf_textgen.models.model_config import EncoderDecoderConfig

ATTENTIONS = ("none", "bahdanau", "luong_dot", "luong_general", "luong_scaled")
BRIDGES = ("dense", "copy", "zero")
CELLS = ("lstm", "gru", "simple_rnn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RNNSeq2SeqConfig(EncoderDecoderConfig):
    """Sizes and parts of `RNNSeq2Seq`."""

    prefix: ClassVar[str] = "rnn_seq2seq"

    vocabulary_size: int = field(required, "Number of target tokens.", at_least=1, flag=False)
    source_vocabulary_size: int | None = field(
        None,
        "Number of source tokens; None if source and target share a vocabulary.",
        at_least=1,
        flag=False,
    )
    pad_id: int = field(0, "Id of the padding token.", at_least=0, flag=False)
    cell: str = field("lstm", "Recurrent cell of both sides.", choices=CELLS)
    encoder_layers: int = field(2, "Stacked recurrent layers that read the source.", at_least=1)
    decoder_layers: int = field(2, "Stacked recurrent layers that write the target.", at_least=1)
    width: int = field(512, "Units of a decoder layer.", at_least=1)
    encoder_width: int | None = field(
        None,
        "Units of an encoder layer, both directions together; unset: the decoder's width.",
        at_least=1,
    )
    embedding_width: int = field(512, "Width of the token embeddings.", at_least=1)
    bidirectional: bool = field(
        True,
        "Read the source in both directions, each with half the encoder's width (Bahdanau et al. "
        "2015).",
    )
    bridge: str = field(
        "dense",
        "How the encoder's last states become the decoder's first: by a learned layer, copied, or "
        "not at all.",
        choices=BRIDGES,
    )
    attention: str = field(
        "luong_general",
        "How the decoder looks at the source: additive before each step (bahdanau), or after it by "
        "dot products with projected keys (luong_general), with the encoder's outputs (luong_dot) "
        "or these scaled (luong_scaled).",
        choices=ATTENTIONS,
    )
    input_feeding: bool = field(
        False,
        "The bottom layer also reads the attentional vector of the step before, so that it knows "
        "what was attended to; luong_* only, and slower (Luong et al. 2015, section 3.3).",
    )
    residual: bool = field(
        False,
        "Each layer above the bottom one of its side adds what it reads to what it gives out (Wu "
        "et al. 2016).",
    )
    dropout: float = field(
        0.2,
        "Share of zeros in embeddings, between layers and before the logits, never along time "
        "(Zaremba et al. 2014).",
        at_least=0.0,
        below=1.0,
    )
    tied_embeddings: bool = field(
        False, "Use the target embedding as output weights (Press and Wolf 2017)."
    )
    shared_embeddings: bool = field(
        False, "One embedding for source and target; needs a shared vocabulary."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        name = f"--{self.prefix}"
        if self.bidirectional and self.memory_width % 2:
            raise UserError(
                f"{name}.bidirectional with an encoder of width {self.memory_width}: expected an "
                "even width, half for each direction; change "
                f"{name}.{'width' if self.encoder_width is None else 'encoder_width'}"
            )
        if self.bridge == "zero" and self.attention == "none":
            raise UserError(
                f"{name}.bridge=zero with {name}.attention=none: the decoder would never see the "
                "source; choose another bridge or an attention"
            )
        if self.input_feeding and not self.attention.startswith("luong_"):
            why = (
                "there is no attention"
                if self.attention == "none"
                else "the cell reads the context already"
            )
            raise UserError(
                f"{name}.input_feeding with {name}.attention={self.attention}: {why}; expected one "
                "of the luong attentions; choose one or leave input_feeding out"
            )
        if self.residual and self.encoder_layers == self.decoder_layers == 1:
            raise UserError(
                f"{name}.residual with one layer on each side: expected at least 2 on one of them, "
                "the bottom one has no residual; add layers or leave it out"
            )
        if self.memory_width != self.width:
            self._check_equal_widths()

    @property
    def memory_width(self) -> int:
        """Width M of the encoder's outputs."""
        return self.width if self.encoder_width is None else self.encoder_width

    def _check_equal_widths(self) -> None:
        widths = (
            f"--{self.prefix}.encoder_width={self.encoder_width} and "
            f"--{self.prefix}.width={self.width}"
        )
        if self.bridge == "copy":
            raise UserError(
                f"bridge copy with {widths}: expected equal widths; choose the dense bridge"
            )
        if self.attention in ("luong_dot", "luong_scaled"):
            raise UserError(
                f"attention {self.attention} with {widths}: expected equal widths; choose "
                "luong_general"
            )
