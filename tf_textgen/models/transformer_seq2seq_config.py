"""The shape of an encoder-decoder Transformer. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import field
from tf_textgen.models.model_config import EncoderDecoderConfig
from tf_textgen.models.transformer_config import ACTIVATIONS, POSITIONS, TransformerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerSeq2SeqConfig(TransformerConfig, EncoderDecoderConfig):
    """An encoder-decoder Transformer; the defaults are those of Vaswani et al., 2017, at a size a
    laptop trains.

    Their base model is `encoder_layers=6, decoder_layers=6, num_heads=8, width=512,
    norm_placement="post"`. Here
    normalization comes first: with it training needs no long warmup (Xiong et al., 2020), and their
    own code moved to it (`transformer_base_v2` of Tensor2Tensor).
    """

    prefix: ClassVar[str] = "transformer_seq2seq"

    source_vocabulary_size: int | None = field(
        None,
        "Number of source tokens; None if source and target share a vocabulary.",
        at_least=1,
        flag=False,
    )
    encoder_layers: int = field(4, "Number of blocks that read the source.", at_least=1)
    decoder_layers: int = field(4, "Number of blocks that write the target.", at_least=1)
    shared_embeddings: bool = field(
        True,
        "One embedding for source and target (Vaswani et al. 2017, section 3.4); needs a shared "
        "vocabulary.",
    )
    max_positions: int = field(
        512,
        "Longest source, and longest target, in tokens; room for twice the data's default.",
        at_least=1,
    )
    positions: str = field(
        "sinusoidal", "How positions are represented (section 3.5).", choices=POSITIONS
    )
    activation: str = field(
        "relu", "Activation of the feed-forward layers (section 3.3).", choices=ACTIVATIONS
    )
    dropout: float = field(
        0.1,
        "Share of embeddings and sublayer outputs dropped (section 5.4).",
        at_least=0.0,
        below=1.0,
    )
