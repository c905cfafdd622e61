"""The costs of recurrent models. Does not import TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

from tf_textgen.models.cost_parts import Costs, Part, Weight, logits_part, product_part, together
from tf_textgen.models.rnn_lm_config import RNNLMConfig
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig


class _Cell(NamedTuple):
    """Of a cell in `layers.recurrent`: gates, tensors of its state, biases a gate."""

    gates: int
    states: int
    biases: int


_CELLS = {"lstm": _Cell(4, 2, 1), "gru": _Cell(3, 1, 2), "simple_rnn": _Cell(1, 1, 1)}


def rnn_lm_costs(config: RNNLMConfig, source_tokens: int, target_tokens: int) -> Costs:
    width = config.width
    embedding = config.token_width
    parts = [
        Part(
            "token embedding", (Weight((config.vocabulary_size, embedding)),), activations=embedding
        )
    ]
    inputs = [embedding] + [width] * (config.num_layers - 1)
    parts.append(together("layers", [_layer(config.cell, below, width) for below in inputs]))
    if config.layer_norm:
        norms = [Part("", (Weight((w,)), Weight((w,))), activations=w) for w in (*inputs, width)]
        parts.append(together("normalizations", norms))
    vector = embedding if config.tied_embeddings else width
    if vector != width:
        parts.append(product_part("output projection", [(width, vector)], bias=False))
    parts.append(
        logits_part(
            vector, config.vocabulary_size, config.tied_embeddings, bias=not config.tied_embeddings
        )
    )
    return Costs(tuple(parts), cache=_CELLS[config.cell].states * width * config.num_layers)


def rnn_seq2seq_costs(config: RNNSeq2SeqConfig, source_tokens: int, target_tokens: int) -> Costs:
    width = config.width
    memory_width = config.memory_width
    embedding = config.embedding_width
    sources = config.source_vocabulary_size or config.vocabulary_size
    attends = config.attention != "none"
    parts = []
    if not config.shared_embeddings:
        table = (Weight((sources, embedding)),)
        parts.append(Part("source embedding", table, activations=embedding, side="source"))
    directions = 2 if config.bidirectional else 1
    units = memory_width // directions
    widths = [embedding] + [memory_width] * (config.encoder_layers - 1)
    layers = [_layer(config.cell, inputs, units) for inputs in widths for _ in range(directions)]
    parts.append(together("encoder", layers, side="source"))
    if config.bridge == "dense":
        # Once a row: too little for a token to be counted.
        state = (Weight((memory_width, width), True), Weight((width,)))
        parts.append(Part("bridge", state * _CELLS[config.cell].states * config.decoder_layers))
    if config.attention in ("bahdanau", "luong_general"):
        parts.append(
            product_part("attention keys", [(memory_width, width)], bias=False, side="source")
        )
    parts.append(
        Part(
            "target embedding",
            (Weight((config.vocabulary_size, embedding)),),
            activations=embedding,
        )
    )
    parts.append(_decoder(config, source_tokens))
    vector = embedding if config.tied_embeddings else width
    if readout := _readout(config, vector):
        parts.append(readout)
    parts.append(
        logits_part(
            vector, config.vocabulary_size, config.tied_embeddings, bias=not config.tied_embeddings
        )
    )
    keys = width if config.attention in ("bahdanau", "luong_general") else memory_width
    memory = source_tokens * (memory_width + keys) if attends else 0
    fed = vector if config.input_feeding else 0
    return Costs(
        tuple(parts),
        cache=_CELLS[config.cell].states * width * config.decoder_layers + memory + fed,
    )


def _decoder(config: RNNSeq2SeqConfig, source_tokens: int) -> Part:
    width = config.width
    memory_width = config.memory_width
    attentive = config.attention == "bahdanau"
    above = width + memory_width if attentive else width
    layers = [_layer(config.cell, config.embedding_width, width)]
    layers += [_layer(config.cell, above, width) for _ in range(config.decoder_layers - 1)]
    if config.input_feeding:
        vector = config.embedding_width if config.tied_embeddings else width
        layers.append(
            product_part("fed", [(vector, _CELLS[config.cell].gates * width)], bias=False)
        )
    if attentive:
        looking = [(memory_width, _CELLS[config.cell].gates * width), (width, width)]
        layers.append(product_part("attention", looking, bias=False))
        layers.append(Part("scores", (Weight((width, 1)),)))
    made = together("decoder", layers)
    if config.attention == "none":
        return made
    # Scores and the weighted sum; the additive score also keeps its tanh for every place of the
    # source.
    kept = source_tokens * (width + 2 if attentive else 2)
    return made._replace(
        flops=made.flops + 2 * source_tokens * (width + memory_width),
        activations=made.activations + kept,
    )


def _readout(config: RNNSeq2SeqConfig, vector: int) -> Part | None:
    width = config.width
    memory_width = config.memory_width
    if config.attention == "bahdanau":
        read = width + config.embedding_width + memory_width
        return product_part("readout", [(read, 2 * vector)], bias=True)
    if config.attention != "none":
        return product_part("readout", [(width + memory_width, vector)], bias=False)
    return product_part("readout", [(width, vector)], bias=False) if vector != width else None


def _layer(name: str, inputs: int, units: int) -> Part:
    cell = _CELLS[name]
    gates = cell.gates * units
    made = product_part("layer", [(inputs, gates), (units, gates)], bias=False)
    # Biases are added; the loop keeps gates and states of every step.
    biases = (Weight((gates,)),) * cell.biases
    return made._replace(
        weights=(*made.weights, *biases), activations=inputs + 2 * gates + (cell.states + 1) * units
    )
