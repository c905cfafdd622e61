"""A Transformer in NumPy, float64, one row, one query and one head at a time: what the layers are
compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray


def layer_norm(x: Array, scale: Array, offset: Array | float = 0.0, epsilon: float = 1e-5) -> Array:
    return np.stack(
        [(row - row.mean()) / math.sqrt(row.var() + epsilon) * scale + offset for row in x]
    )


def rms_norm(x: Array, scale: Array, epsilon: float = 1e-5) -> Array:
    return np.stack([row / math.sqrt((row**2).mean() + epsilon) * scale for row in x])


def activate(name: str, x: Array) -> Array:
    if name == "relu":
        return np.where(x > 0, x, 0.0)
    if name == "gelu":
        return np.vectorize(lambda v: 0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))))(x)
    if name == "gelu_tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    gate, value = np.split(x, 2, axis=-1)
    return gate / (1.0 + np.exp(-gate)) * value


def sinusoid(position: int, width: int) -> Array:
    row = np.zeros(width)
    for column in range(width):
        angle = position / 10000.0 ** (2 * (column // 2) / width)
        row[column] = math.cos(angle) if column % 2 else math.sin(angle)
    return row


def rotate(head: Array, position: int, base: float = 10000.0) -> Array:
    half = len(head) // 2
    turned = np.zeros_like(head)
    for i in range(half):
        number = complex(head[i], head[i + half]) * np.exp(
            1j * position * base ** (-2 * i / len(head))
        )
        turned[i], turned[i + half] = number.real, number.imag
    return turned


def score(kind: str, query: Array, key: Array, scale: float = 10.0) -> float:
    if kind == "dot_product":
        return query @ key / math.sqrt(len(query))
    if kind == "cosine":
        return scale * query @ key / (np.linalg.norm(query) * np.linalg.norm(key))
    return -math.sqrt(((query - key) ** 2).sum() + 1e-6)


def attention(
    x: Array, weights: Mapping[str, Array], visible: Array, *, heads: int, kv_heads: int, head_width: int,
    value_width: int, kind: str = "dot_product", positions: Array | None = None, memory: Array | None = None,
) -> Array:  # fmt: skip
    """`x` `[T, D]` looks at itself or at `memory` `[C, D]` as far as `visible` `[T, C]`.

    Weights by path below the layer; rotary where positions are given.
    """
    if memory is None:
        projected = linear(x, weights, "query_key_value")
        queries, projected = np.split(projected, [heads * head_width], axis=-1)
    else:
        queries, projected = linear(x, weights, "query"), linear(memory, weights, "key_value")
    length, slots = visible.shape
    queries = queries.reshape(length, heads, head_width)
    keys, values = np.split(projected, [kv_heads * head_width], axis=-1)
    keys, values = (
        keys.reshape(slots, kv_heads, head_width),
        values.reshape(slots, kv_heads, value_width),
    )
    result = np.zeros((length, heads, value_width))
    for n in range(heads):
        k = n // (heads // kv_heads)
        scale = weights["scale"][n] if kind == "cosine" else 1.0
        for t in range(length):
            seen = [c for c in range(slots) if visible[t, c]]
            scores = []
            for c in seen:
                query, key = queries[t, n], keys[c, k]
                if positions is not None:
                    query, key = rotate(query, positions[t]), rotate(key, positions[c])
                scores.append(score(kind, query, key, scale))
            shares = np.exp(np.array(scores) - max(scores))
            shares /= shares.sum()
            result[t, n] = sum(share * values[c, k] for share, c in zip(shares, seen, strict=True))
    return linear(result.reshape(length, -1), weights, "output_projection")


def linear(x: Array, weights: Mapping[str, Array], name: str) -> Array:
    return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)


def below(weights: Mapping[str, Array], name: str) -> dict[str, Array]:
    """The weights under a path, without it."""
    return {
        path[len(name) + 1 :]: value
        for path, value in weights.items()
        if path.startswith(name + "/")
    }


def by_path(layer: Any) -> dict[str, Array]:
    """The weights of a Keras layer or model as float64, by path below it."""
    found = {variable.path: np.asarray(variable.value, np.float64) for variable in layer.weights}
    return below(found, layer.name)


def norm(config: Any, weights: Mapping[str, Array], name: str, x: Array) -> Array:
    own = below(weights, name)
    if config.normalization == "rms_norm":
        return rms_norm(x, own["scale"], config.norm_epsilon)
    return layer_norm(x, own["scale"], own.get("offset", 0.0), config.norm_epsilon)


def hidden(
    config: Any, weights: Mapping[str, Array], tokens: Array, positions: Array | None = None,
    segments: Array | None = None,
) -> Array:  # fmt: skip
    """The last hidden states `[T, D]` of a row, from a `TransformerLMConfig`'s fields and the
    weights of `by_path`.
    """
    length = len(tokens)
    positions = np.arange(length) if positions is None else positions
    segments = np.zeros(length) if segments is None else segments
    visible = np.tril(np.ones((length, length), bool)) & (segments[:, None] == segments)
    x = weights["embedding/table"][tokens]
    if config.token_width != config.width:
        x = linear(x, weights, "input_projection")
    if config.positions == "learned":
        x = x + weights["positions/table"][positions]
    if config.positions == "sinusoidal":
        x = x * math.sqrt(config.width) + np.stack([sinusoid(p, config.width) for p in positions])
    for index in range(config.num_layers):
        x = block(config, below(weights, f"block_{index}"), x, visible, positions)
    if config.norm_placement == "pre":
        x = norm(config, weights, "final_norm", x)
    return x


def logits(
    config: Any, weights: Mapping[str, Array], tokens: Array, positions: Array | None = None,
    segments: Array | None = None,
) -> Array:  # fmt: skip
    """Logits `[T, V]` of one row, as `hidden` takes it."""
    x = hidden(config, weights, tokens, positions, segments)
    if not config.tied_embeddings:
        return linear(x, weights, "logits")
    if config.token_width != config.width:
        x = linear(x, weights, "output_projection")
    return x @ weights["embedding/table"].T


def seq2seq_logits(
    config: Any, weights: Mapping[str, Array], source: Array, target: Array
) -> Array:
    """Logits `[T, V]` of one row, from the fields of a `TransformerSeq2SeqConfig` and the weights
    of `by_path`.
    """
    target_table, memory = weights["target_embedding/table"], encoded(config, weights, source)
    causal = np.tril(np.ones((len(target), len(target)), bool))
    x = _stack(
        config,
        below(weights, "decoder"),
        config.decoder_layers,
        target_table[target],
        causal,
        memory,
    )
    if not config.tied_embeddings:
        return linear(x, weights, "logits")
    if config.token_width != config.width:
        x = linear(x, weights, "output_projection")
    return x @ target_table.T


def encoded(config: Any, weights: Mapping[str, Array], source: Array) -> Array:
    """What the encoder makes of one source, `[S, D]`."""
    table = weights[
        "target_embedding/table" if config.shared_embeddings else "source_embedding/table"
    ]
    everything = np.ones((len(source), len(source)), bool)
    return _stack(
        config, below(weights, "encoder"), config.encoder_layers, table[source], everything
    )


def _stack(
    config: Any, weights: Mapping[str, Array], layers: int, embedded: Array, visible: Array,
    memory: Array | None = None,
) -> Array:  # fmt: skip
    positions = np.arange(len(embedded))
    x = embedded * math.sqrt(config.token_width)
    if config.token_width != config.width:
        x = linear(x, weights, "input_projection")
    if config.positions == "learned":
        x = x + weights["positions/table"][positions]
    if config.positions == "sinusoidal":
        x = x + np.stack([sinusoid(p, config.width) for p in positions])
    for index in range(layers):
        x = block(config, below(weights, f"block_{index}"), x, visible, positions, memory)
    return norm(config, weights, "final_norm", x) if config.norm_placement == "pre" else x


def block(
    config: Any,
    weights: Mapping[str, Array],
    x: Array,
    visible: Array,
    positions: Array,
    memory: Array | None = None,
) -> Array:
    sizes = {
        "heads": config.num_heads, "kv_heads": config.key_value_heads, "head_width": config.key_width,
        "value_width": config.head_value_width, "kind": config.attention_score,
    }  # fmt: skip

    def attend(y: Array) -> Array:
        rotary = positions if config.positions == "rotary" else None
        return attention(y, below(weights, "attention"), visible, positions=rotary, **sizes)

    def attend_to_memory(y: Array) -> Array:
        everything = np.ones((len(y), len(memory)), bool)
        return attention(y, below(weights, "cross_attention"), everything, memory=memory, **sizes)

    def feed_forward(y: Array) -> Array:
        own = below(weights, "feed_forward")
        return linear(
            activate(config.activation, linear(y, own, "input_projection")),
            own,
            "output_projection",
        )

    sublayers = {
        "attention": attend,
        "cross_attention": attend_to_memory,
        "feed_forward": feed_forward,
    }
    if memory is None:
        del sublayers["cross_attention"]
    for name, sublayer in sublayers.items():
        if config.norm_placement == "pre":
            x = x + sublayer(norm(config, weights, f"{name}_norm", x))
        else:
            x = norm(config, weights, f"{name}_norm", x + sublayer(x))
    return x
