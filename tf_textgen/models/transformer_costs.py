"""The costs of Transformers. Does not import TensorFlow."""

from __future__ import annotations

from tf_textgen.models.cost_parts import Costs, Part, Weight, logits_part, product_part
from tf_textgen.models.transformer_config import TransformerConfig
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig


def transformer_lm_costs(
    config: TransformerLMConfig, source_tokens: int, target_tokens: int
) -> Costs:
    layers = config.num_layers
    parts = [
        _embedding(config, config.vocabulary_size),
        *_input(config),
        _self_attention(config, layers, target_tokens),
        _feed_forward(config, layers),
        _normalizations(config, 2 * layers),
        *_output(config),
    ]
    return Costs(tuple(parts), cache=layers * target_tokens * _key_value_width(config))


def transformer_seq2seq_costs(
    config: TransformerSeq2SeqConfig, source_tokens: int, target_tokens: int
) -> Costs:
    encoder = config.encoder_layers
    decoder = config.decoder_layers
    source = [
        *_input(config),
        _self_attention(config, encoder, source_tokens),
        _feed_forward(config, encoder),
        _normalizations(config, 2 * encoder),
    ]
    if not config.shared_embeddings:
        source.insert(0, _embedding(config, config.source_vocabulary))
    target = [
        _embedding(config, config.vocabulary_size),
        *_input(config),
        _self_attention(config, decoder, target_tokens),
        _cross_attention(config, decoder, source_tokens),
        _feed_forward(config, decoder),
        _normalizations(config, 3 * decoder),
        *_output(config),
    ]
    parts = [part._replace(name=f"source {part.name}", side="source") for part in source]
    parts.append(_cross_keys(config, decoder))
    parts += [part._replace(name=f"target {part.name}") for part in target]
    cached = decoder * (source_tokens + target_tokens) * _key_value_width(config)
    return Costs(tuple(parts), cache=cached)


def _embedding(config: TransformerConfig, tokens: int) -> Part:
    return Part(
        "token embedding", (Weight((tokens, config.token_width)),), activations=config.token_width
    )


def _input(config: TransformerConfig) -> list[Part]:
    """The parts between token vectors and the first block."""
    parts = []
    if config.positions == "learned":
        parts.append(Part("positions", (Weight((config.max_positions, config.width)),)))
    if config.token_width != config.width:
        parts.append(
            product_part("input projection", [(config.token_width, config.width)], bias=False)
        )
    return parts


def _output(config: TransformerConfig) -> list[Part]:
    """The parts between the last block and the logits."""
    parts = []
    vector = config.token_width if config.tied_embeddings else config.width
    if vector != config.width:
        parts.append(product_part("output projection", [(config.width, vector)], bias=False))
    return [*parts, logits_part(vector, config.vocabulary_size, config.tied_embeddings)]


def _normalizations(config: TransformerConfig, in_blocks: int) -> Part:
    count = in_blocks + (config.norm_placement == "pre")
    vectors = 1 + (config.use_bias and config.normalization == "layer_norm")
    return Part(
        "normalizations",
        (Weight((config.width,)),) * (vectors * count),
        activations=2 * count * config.width,
    )


def _self_attention(config: TransformerConfig, layers: int, context: int) -> Part:
    query_width = _query_width(config)
    mixed = _mixed_width(config)
    together = query_width + _key_value_width(config)
    products = product_part(
        "attention", [(config.width, together), (mixed, config.width)], bias=config.use_bias
    )
    return _attention(config, products, layers, context)


def _cross_attention(config: TransformerConfig, layers: int, source_tokens: int) -> Part:
    shapes = [(config.width, _query_width(config)), (_mixed_width(config), config.width)]
    products = product_part("cross-attention", shapes, bias=config.use_bias)
    return _attention(config, products, layers, source_tokens)


def _attention(config: TransformerConfig, products: Part, layers: int, context: int) -> Part:
    """The products of a token with what its attention adds at this context."""
    heads = config.num_heads
    mixed = _mixed_width(config)
    scale = (Weight((heads,)),) if config.attention_score == "cosine" else ()
    return Part(
        products.name,
        (products.weights + scale) * layers,
        layers * (products.flops + 2 * context * (_query_width(config) + mixed)),
        # Scores and weights of every head next to what the products read and wrote.
        layers * (products.activations + mixed + config.width + 2 * heads * context),
    )


def _cross_keys(config: TransformerConfig, layers: int) -> Part:
    """Keys and values of cross-attention: made once for each token of the source."""
    shapes = [(config.width, _key_value_width(config))] * layers
    return product_part(
        "cross-attention keys and values", shapes, bias=config.use_bias, side="source"
    )


def _feed_forward(config: TransformerConfig, layers: int) -> Part:
    inner = config.inner_width
    first = 2 * inner if config.activation == "swiglu" else inner
    one = product_part("", [(config.width, first), (inner, config.width)], bias=config.use_bias)
    return Part(
        "feed-forward", one.weights * layers, layers * one.flops, layers * (one.activations + inner)
    )


def _query_width(config: TransformerConfig) -> int:
    return config.num_heads * config.key_width


def _mixed_width(config: TransformerConfig) -> int:
    """Of the values that all heads have weighed, next to each other."""
    return config.num_heads * config.head_value_width


def _key_value_width(config: TransformerConfig) -> int:
    return config.key_value_heads * (config.key_width + config.head_value_width)
