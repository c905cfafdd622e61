"""The shape of a decoder-only Transformer. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import field
from tf_textgen.models.transformer_config import TransformerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerLMConfig(TransformerConfig):
    """A decoder-only Transformer; the defaults are GPT-2's choices at a size a laptop trains.

    GPT-2 124M is `num_layers=12, num_heads=12, width=768, max_positions=1024,
    vocabulary_size=50257, pad_id=50256`.
    """

    prefix: ClassVar[str] = "transformer_lm"

    num_layers: int = field(4, "Number of blocks.", at_least=1)
    initializer_stddev: float = field(
        0.02,
        "Standard deviation of initial weights; those that end a sublayer get 1/sqrt(2 num_layers) "
        "of it.",
        above=0.0,
    )
