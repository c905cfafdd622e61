"""The shape of a Transformer's layers, which all Transformers here share.

Does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses

from tf_textgen.config import field, flag_name, required
from tf_textgen.errors import UserError
from tf_textgen.models.model_config import ContextLimit, ModelConfig

POSITIONS = ("learned", "sinusoidal", "rotary", "none")
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "swiglu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig(ModelConfig):
    """Vocabulary, widths and layer options; the families add their numbers of layers and defaults
    of their own.
    """

    vocabulary_size: int = field(required, "Number of token ids.", at_least=1, flag=False)
    pad_id: int = field(0, "Id of padding.", at_least=0, flag=False)
    num_heads: int = field(4, "Number of query heads of an attention.", at_least=1)
    num_kv_heads: int | None = field(
        None,
        "Number of key and value heads, a divisor of num_heads; num_heads if not set.",
        at_least=1,
    )
    width: int = field(128, "Width of the residual stream.", at_least=1)
    head_width: int | None = field(
        None, "Width of a query and of a key; width / num_heads if not set.", at_least=1
    )
    value_width: int | None = field(
        None, "Width of a value of one head; head_width if not set.", at_least=1
    )
    embedding_width: int | None = field(
        None,
        "Width of the token embedding, projected to width if it differs; width if not set.",
        at_least=1,
    )
    feed_forward_width: int | None = field(
        None,
        "Inner width of the feed-forward layers; 4 * width if not set, for swiglu 8/3 * width.",
        at_least=1,
    )
    max_positions: int = field(
        256, "Longest sequence in tokens, prompt and continuation.", at_least=1
    )
    normalization: str = field(
        "layer_norm", "Kind of normalization.", choices=("layer_norm", "rms_norm")
    )
    norm_placement: str = field(
        "pre", "Normalize before each sublayer, or after its residual sum.", choices=("pre", "post")
    )
    norm_epsilon: float = field(
        1e-5, "Added to the variance before its root, as in GPT-2.", above=0.0
    )
    positions: str = field("learned", "How positions are represented.", choices=POSITIONS)
    rotary_base: float = field(10000.0, "Base of the wavelengths of rotary positions.", above=1.0)
    activation: str = field(
        "gelu_tanh", "Activation of the feed-forward layers.", choices=ACTIVATIONS
    )
    attention_score: str = field(
        "dot_product",
        "How a query is compared with a key: their scaled product, the cosine of their angle times "
        "a learned scale, or minus their Euclidean distance.",
        choices=("dot_product", "cosine", "euclidean"),
    )
    tied_embeddings: bool = field(True, "Use the token embedding as the output projection too.")
    use_bias: bool = field(True, "Add biases in projections and layer norms.")
    dropout: float = field(
        0.0, "Share of embeddings and sublayer outputs dropped.", at_least=0.0, below=1.0
    )
    attention_dropout: float = field(
        0.0, "Share of attention weights dropped.", at_least=0.0, below=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        name = f"--{self.prefix}"
        if self.head_width is None and self.width % self.num_heads:
            raise UserError(
                f"{name}.width={self.width} does not divide by {name}.num_heads={self.num_heads}: "
                f"expected a multiple; change one or set {name}.head_width"
            )
        if self.num_heads % self.key_value_heads:
            raise UserError(
                f"{name}.num_kv_heads={self.num_kv_heads}: expected a divisor of "
                f"{name}.num_heads={self.num_heads}"
            )
        if self.positions == "rotary" and self.key_width % 2:
            raise UserError(
                f"{name}.positions=rotary with heads of width {self.key_width}: expected an even "
                f"width; set {name}.head_width"
            )

    @property
    def context_limit(self) -> ContextLimit:
        flag = flag_name(type(self), "max_positions")
        return ContextLimit(self.max_positions, flag, is_trained=self.positions == "learned")

    # The meaning of None.

    @property
    def key_value_heads(self) -> int:
        return self.num_kv_heads or self.num_heads

    @property
    def key_width(self) -> int:
        return self.head_width or self.width // self.num_heads

    @property
    def head_value_width(self) -> int:
        return self.value_width or self.key_width

    @property
    def token_width(self) -> int:
        return self.embedding_width or self.width

    @property
    def inner_width(self) -> int:
        """SwiGLU has three matrices instead of two: 8/3, rounded up to a multiple of 8, keeps the
        weights' number.
        """
        if self.feed_forward_width:
            return self.feed_forward_width
        return -(-self.width // 3) * 8 if self.activation == "swiglu" else 4 * self.width
