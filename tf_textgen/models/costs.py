"""What a model costs, from its configuration alone: weights, operations and memory. Imports no TensorFlow.

Operations (FLOPs) are those of matrix products, two for each multiplication with its addition; embedding lookups,
normalizations, activations and softmaxes are left out, as is usual (Kaplan et al. 2020, section 2.1). Each number of a
matrix is used once a token, so a token's forward pass takes `2 * matrix elements`, and attention adds
`2 * context * (query-key width + value width)` for all its heads. Training takes three times the forward pass: the
backward pass makes two products, one for the inputs' gradient and one for the weights', where the forward pass made
one.

Letters: `V` vocabulary, `D` width, `E` embedding width, `M` width of an encoder's outputs, `A` width of attention keys.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tf_textgen.config import Config
from tf_textgen.errors import UserError
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig
from tf_textgen.models.transformer_lm_config import TransformerLMConfig

FLOAT32_BYTES = 4
BYTES = {"float32": 4, "mixed_bfloat16": 2}
BACKWARD_FACTOR = 2
_LSTM_GATES = 4
_STATES = 2  # of an LSTM: hidden and carry


class Weight(NamedTuple):
    """A trained array; `multiplied` is False for tables that are looked up and for vectors that are added."""

    shape: tuple[int, ...]
    multiplied: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Part(NamedTuple):
    """A named part of a model.

    Attributes:
      weights: all its trained arrays.
      flops: of the forward pass for one token of its side, at the context that the costs were asked for.
      activations: numbers kept for the backward pass for one token, about.
      side: `target` or `source`: whose tokens pass through it.
    """

    name: str
    weights: tuple[Weight, ...]
    flops: int = 0
    activations: int = 0
    side: str = "target"

    @property
    def parameters(self) -> int:
        return sum(weight.size for weight in self.weights)


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of a model.

    Attributes:
      parts: in the order in which a token passes them.
      cache: numbers that decoding keeps for one row: keys and values, or states and the memory of the source.
    """

    parts: tuple[Part, ...]
    cache: int

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    def forward_flops(self, side: str = "target") -> int:
        """FLOPs for one token of `side`: of a forward pass, and of one step of decoding with a cache."""
        return sum(part.flops for part in self.parts if part.side == side)

    def training_flops(self, side: str = "target") -> int:
        """FLOPs for one token of `side`, forward and backward."""
        return (1 + BACKWARD_FACTOR) * self.forward_flops(side)

    def activations(self, side: str = "target") -> int:
        """Numbers kept for the backward pass for one token of `side`, about."""
        return sum(part.activations for part in self.parts if part.side == side)

    def weights(self) -> Iterable[Weight]:
        for part in self.parts:
            yield from part.weights


def costs(config: Config, *, source_tokens: int, target_tokens: int) -> Costs:
    """The costs of the model that `config` describes.

    Args:
      config: of any family.
      source_tokens: length of the sources; language models have none.
      target_tokens: the context that attention looks at; causal products are made whole, so training takes it too.

    Raises:
      UserError: a family without formulas.
    """
    if isinstance(config, TransformerLMConfig):
        return _transformer_lm(config, target_tokens)
    if isinstance(config, RNNSeq2SeqConfig):
        return _rnn_seq2seq(config, source_tokens)
    raise UserError(f"costs of {type(config).__name__}: expected a configuration of a model family")


def optimizer_numbers(optimizer: str, momentum: float, weights: Iterable[Weight]) -> int:
    """Numbers that an optimizer of `OptimizerConfig.name` keeps beside the weights."""
    if optimizer == "adafactor":  # a mean of each row and column
        return sum(w.size if len(w.shape) < 2 else w.size // w.shape[-1] + w.size // w.shape[-2] for w in weights)
    each: Mapping[str, int] = {"adamw": 2, "sgd": bool(momentum), "rmsprop": 1 + bool(momentum)}
    return each[optimizer] * sum(w.size for w in weights)


def _transformer_lm(config: TransformerLMConfig, context: int) -> Costs:
    width, token_width, bias = config.width, config.token_width, config.use_bias
    narrow = token_width != width
    vectors = 1 + (bias and config.normalization == "layer_norm")
    norms = 2 * config.num_layers + (config.norm_placement == "pre")
    table = Weight((config.vocabulary_size, token_width))
    parts = [Part("token embedding", (table,), activations=token_width)]
    if config.positions == "learned":
        parts.append(Part("positions", (Weight((config.max_positions, width)),)))
    if narrow:
        parts.append(_product_part("input projection", [(token_width, width)], bias=False))
    parts += [
        _attention(config, context),
        _feed_forward(config),
        Part("normalizations", (Weight((width,)),) * (vectors * norms), activations=2 * norms * width),
    ]
    if narrow and config.tied_embeddings:
        parts.append(_product_part("output projection", [(width, token_width)], bias=False))
    parts.append(
        _logits(token_width if config.tied_embeddings else width, config.vocabulary_size, config.tied_embeddings)
    )
    widths = config.key_value_heads * (config.key_width + config.head_value_width)
    return Costs(tuple(parts), cache=config.num_layers * context * widths)


def _attention(config: TransformerLMConfig, context: int) -> Part:
    heads, keys = config.num_heads, config.key_value_heads
    query_width, mixed = heads * config.key_width, heads * config.head_value_width
    together = query_width + keys * (config.key_width + config.head_value_width)
    one = _product_part("attention", [(config.width, together), (mixed, config.width)], bias=config.use_bias)
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
    one = _product_part("", [(config.width, first), (inner, config.width)], bias=config.use_bias)
    layers = config.num_layers
    return Part("feed-forward", one.weights * layers, layers * one.flops, layers * (one.activations + inner))


def _logits(width: int, vocabulary_size: int, tied: bool, bias: bool = False) -> Part:
    """The product with the vocabulary; a tied one shares the token embedding's table."""
    made = _product_part("logits", [(width, vocabulary_size)], bias=bias)
    # The logits, their softmax and its gradient.
    return made._replace(weights=() if tied else made.weights, activations=width + 3 * vocabulary_size)


def _rnn_seq2seq(config: RNNSeq2SeqConfig, source_tokens: int) -> Costs:
    width, memory_width, embedding = config.width, config.memory_width, config.embedding_width
    sources = config.source_vocabulary_size or config.vocabulary_size
    attends = config.attention != "none"
    parts = []
    if not config.shared_embeddings:
        table = (Weight((sources, embedding)),)
        parts.append(Part("source embedding", table, activations=embedding, side="source"))
    directions = 2 if config.bidirectional else 1
    units = memory_width // directions
    widths = [embedding] + [memory_width] * (config.encoder_layers - 1)
    layers = [_lstm(inputs, units) for inputs in widths for _ in range(directions)]
    parts.append(_together("encoder", layers, side="source"))
    if config.bridge == "dense":
        # Once a row: too little for a token to be counted.
        state = (Weight((memory_width, width), True), Weight((width,)))
        parts.append(Part("bridge", state * _STATES * config.decoder_layers))
    if config.attention in ("bahdanau", "luong_general"):
        parts.append(_product_part("attention keys", [(memory_width, width)], bias=False, side="source"))
    parts.append(Part("target embedding", (Weight((config.vocabulary_size, embedding)),), activations=embedding))
    parts.append(_decoder(config, source_tokens))
    vector = embedding if config.tied_embeddings else width
    if readout := _readout(config, vector):
        parts.append(readout)
    parts.append(_logits(vector, config.vocabulary_size, config.tied_embeddings, bias=not config.tied_embeddings))
    keys = width if config.attention in ("bahdanau", "luong_general") else memory_width
    memory = source_tokens * (memory_width + keys) if attends else 0
    return Costs(tuple(parts), cache=_STATES * width * config.decoder_layers + memory)


def _decoder(config: RNNSeq2SeqConfig, source_tokens: int) -> Part:
    width, memory_width = config.width, config.memory_width
    attentive = config.attention == "bahdanau"
    above = width + memory_width if attentive else width
    layers = [_lstm(config.embedding_width, width)]
    layers += [_lstm(above, width) for _ in range(config.decoder_layers - 1)]
    if attentive:
        looking = [(memory_width, _LSTM_GATES * width), (width, width)]
        layers.append(_product_part("attention", looking, bias=False))
        layers.append(Part("scores", (Weight((width, 1)),)))
    made = _together("decoder", layers)
    if config.attention == "none":
        return made
    # Scores and the weighted sum; the additive score also keeps its tanh for every place of the source.
    kept = source_tokens * (width + 2 if attentive else 2)
    return made._replace(
        flops=made.flops + 2 * source_tokens * (width + memory_width), activations=made.activations + kept
    )


def _readout(config: RNNSeq2SeqConfig, vector: int) -> Part | None:
    width, memory_width = config.width, config.memory_width
    if config.attention == "bahdanau":
        read = width + config.embedding_width + memory_width
        return _product_part("readout", [(read, 2 * vector)], bias=True)
    if config.attention != "none":
        return _product_part("readout", [(width + memory_width, vector)], bias=False)
    return _product_part("readout", [(width, vector)], bias=False) if vector != width else None


def _lstm(inputs: int, units: int) -> Part:
    gates = _LSTM_GATES * units
    made = _product_part("lstm", [(inputs, gates), (units, gates)], bias=False)
    # The bias is added once; the loop keeps gates and states of every step.
    return made._replace(weights=(*made.weights, Weight((gates,))), activations=inputs + 2 * gates + 3 * units)


def _product_part(name: str, shapes: Iterable[tuple[int, int]], *, bias: bool, side: str = "target") -> Part:
    """Matrix products, each with its bias: what they read and write is kept for the backward pass."""
    weights: list[Weight] = []
    for shape in shapes:
        weights += [Weight(shape, True), *([Weight(shape[1:])] if bias else [])]
    matrices = [weight for weight in weights if weight.multiplied]
    flops = 2 * sum(weight.size for weight in matrices)
    return Part(name, tuple(weights), flops, sum(sum(weight.shape) for weight in matrices), side)


def _together(name: str, parts: Iterable[Part], side: str = "target") -> Part:
    parts = list(parts)
    weights = tuple(weight for part in parts for weight in part.weights)
    return Part(name, weights, sum(p.flops for p in parts), sum(p.activations for p in parts), side)
