"""The costs of Transformers. Imports no TensorFlow."""

from __future__ import annotations

from tf_textgen.models.cost_parts import Costs, Part, Weight, logits_part, product_part
from tf_textgen.models.transformer_lm_config import TransformerLMConfig


def transformer_lm_costs(config: TransformerLMConfig, context: int) -> Costs:
    width, token_width, bias = config.width, config.token_width, config.use_bias
    narrow = token_width != width
    vectors = 1 + (bias and config.normalization == "layer_norm")
    norms = 2 * config.num_layers + (config.norm_placement == "pre")
    table = Weight((config.vocabulary_size, token_width))
    parts = [Part("token embedding", (table,), activations=token_width)]
    if config.positions == "learned":
        parts.append(Part("positions", (Weight((config.max_positions, width)),)))
    if narrow:
        parts.append(product_part("input projection", [(token_width, width)], bias=False))
    parts += [
        _attention(config, context),
        _feed_forward(config),
        Part("normalizations", (Weight((width,)),) * (vectors * norms), activations=2 * norms * width),
    ]
    if narrow and config.tied_embeddings:
        parts.append(product_part("output projection", [(width, token_width)], bias=False))
    parts.append(
        logits_part(token_width if config.tied_embeddings else width, config.vocabulary_size, config.tied_embeddings)
    )
    widths = config.key_value_heads * (config.key_width + config.head_value_width)
    return Costs(tuple(parts), cache=config.num_layers * context * widths)


def _attention(config: TransformerLMConfig, context: int) -> Part:
    heads, keys = config.num_heads, config.key_value_heads
    query_width, mixed = heads * config.key_width, heads * config.head_value_width
    together = query_width + keys * (config.key_width + config.head_value_width)
    one = product_part("attention", [(config.width, together), (mixed, config.width)], bias=config.use_bias)
    scale = (Weight((heads,)),) if config.attention_score == "cosine" else ()
    return Part(
        "attention",
        (one.weights + scale) * config.num_layers,
        config.num_layers * (one.flops + 2 * context * (query_width + mixed)),
        # Scores and weights of every head beside what the products read and wrote.
        config.num_layers * (one.activations + mixed + config.width + 2 * heads * context),
    )


def _feed_forward(config: TransformerLMConfig) -> Part:
    inner = config.inner_width
    first = 2 * inner if config.activation == "swiglu" else inner
    one = product_part("", [(config.width, first), (inner, config.width)], bias=config.use_bias)
    layers = config.num_layers
    return Part("feed-forward", one.weights * layers, layers * one.flops, layers * (one.activations + inner))
