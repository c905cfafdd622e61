"""The cost of a model before it is trained: weights, operations and memory.

The formulas and their limits are in `models.cost_parts`. Does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses

from tf_textgen.data.corpus_table import CORPORA
from tf_textgen.data.data_config import DataConfig
from tf_textgen.models import model_kind
from tf_textgen.models.cost_parts import BYTES, FLOAT32_BYTES, Costs, optimizer_numbers
from tf_textgen.models.costs import costs, with_frozen_embeddings
from tf_textgen.models.model_config import ModelConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.runs.embedding_config import EmbeddingConfig
from tf_textgen.runs.run_config import RunConfig

# `<s> source <sep> target` has two special tokens that the lengths of the sides do not count.
_PAIR_SPECIAL_TOKENS = 2
_FLOPS_UNITS = ("", "k", "M", "G", "T")
_BYTES_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclasses.dataclass(frozen=True)
class Description:
    """Size and costs of a model. Memory is in bytes, FLOPs are for one token.

    Attributes:
      model: name of the family.
      vocabulary_size: number of token ids.
      source_tokens, target_tokens: the lengths for which FLOPs and memory are given; a language
        model has no sources.
      batch_tokens: tokens of one training batch, of both sides.
      parameters: number of weights.
      parameters_by_part: part -> number of weights.
      inference_flops: side -> FLOPs of the forward pass.
      training_flops: side -> FLOPs of a training step; empty if nothing is trained by gradients.
      training_memory: use -> bytes; empty if nothing is trained by gradients.
      serving_memory: use -> bytes.
      vocabulary_at_most: whether `vocabulary_size` is a limit that the text may not reach.
    """

    model: str
    vocabulary_size: int
    source_tokens: int
    target_tokens: int
    batch_tokens: int
    parameters: int
    parameters_by_part: dict[str, int]
    inference_flops: dict[str, int]
    training_flops: dict[str, int]
    training_memory: dict[str, int]
    serving_memory: dict[str, int]
    vocabulary_at_most: bool = False


def describe(
    name: str,
    model: ModelConfig,
    data: DataConfig,
    optimizer: OptimizerConfig,
    run: RunConfig,
    embedding: EmbeddingConfig,
    *,
    context: int | None = None,
) -> Description:
    """Computes the costs of training and serving one model.

    Args:
      name: name of the family.
      model: configuration of the model.
      data: gives the lengths of rows and the size of a batch.
      optimizer: gives the size of the optimizer's state.
      run: gives the precision.
      embedding: says which tables are not trained.
      context: tokens that the model attends to; None takes them from `data`.
    """
    sides: tuple[str, ...] = ("target",)
    if model_kind(name) == "encoder_decoder":
        sides = ("source", "target")
    source_tokens, target_tokens, batch_tokens = _lengths(data, sides, context)
    model_costs = costs(model, source_tokens=source_tokens, target_tokens=target_tokens)
    if not embedding.trainable:
        model_costs = with_frozen_embeddings(model_costs, embedding.side)
    training_flops: dict[str, int] = {}
    training_memory: dict[str, int] = {}
    if model_costs.trained_weights():
        training_flops = {side: model_costs.training_flops(side) for side in sides}
        activations = sum(model_costs.activations(side) for side in sides)
        activations *= BYTES[run.precision] * (batch_tokens // len(sides))
        training_memory = _training_memory(model_costs, optimizer, activations)
    return Description(
        model=name,
        vocabulary_size=model.vocabulary_size,
        source_tokens=source_tokens,
        target_tokens=target_tokens,
        batch_tokens=batch_tokens,
        parameters=model_costs.parameters,
        parameters_by_part={
            part.name: part.parameters for part in model_costs.parts if part.parameters
        },
        inference_flops={side: model_costs.forward_flops(side) for side in sides},
        training_flops=training_flops,
        training_memory=training_memory,
        serving_memory={
            "weights": model_costs.weight_bytes,
            "cache, one row": FLOAT32_BYTES * model_costs.cache,
        },
    )


def _lengths(data: DataConfig, sides: tuple[str, ...], context: int | None) -> tuple[int, int, int]:
    """Tokens of a source, of a target and of a training batch."""
    corpus = CORPORA.get(data.corpus or "")
    is_pairs = data.is_pairs or (corpus is not None and corpus.format in ("tsv", "dialogue"))
    if "source" in sides:
        source = context or data.max_source_tokens
        target = context or data.max_target_tokens
        return source, target, data.batch_tokens
    if is_pairs:
        row = data.max_source_tokens + data.max_target_tokens + _PAIR_SPECIAL_TOKENS
        return 0, context or row, data.batch_tokens
    target = context or data.context
    return 0, target, data.batch_size * target


def _training_memory(
    model_costs: Costs, optimizer: OptimizerConfig, activations: int
) -> dict[str, int]:
    trained = model_costs.trained_weights()
    trained_bytes = FLOAT32_BYTES * sum(weight.size for weight in trained)
    state = optimizer_numbers(optimizer.name, optimizer.momentum, trained)
    memory = {
        "weights": model_costs.weight_bytes,
        "gradients": trained_bytes,
        f"optimizer ({optimizer.name})": FLOAT32_BYTES * state,
    }
    if optimizer.ema_decay:
        memory["moving average"] = trained_bytes
    memory["activations, about"] = activations
    memory["total, about"] = sum(memory.values())
    return memory


def format_table(description: Description) -> str:
    """Returns a description as aligned lines."""
    has_sides = len(description.inference_flops) > 1
    groups = [("parameters", _counts(description))]
    for use, flops in (
        ("inference", description.inference_flops),
        ("training", description.training_flops),
    ):
        names = {side: f"{side} token" if has_sides else "token" for side in flops}
        rows = [(names[side], _scaled(count, 1000, _FLOPS_UNITS)) for side, count in flops.items()]
        groups.append((f"FLOPs a token, {use}", rows))
    batches = f"batches of {description.batch_tokens:,} tokens"
    for title, memory in (
        (f"memory for training, {batches}", description.training_memory),
        ("memory for serving, float32", description.serving_memory),
    ):
        rows = [(name, _scaled(size, 1024, _BYTES_UNITS)) for name, size in memory.items()]
        groups.append((title, rows))
    every_row = [row for _, rows in groups for row in rows]
    name_width = max(len(name) for name, _ in every_row)
    value_width = max(len(value) for _, value in every_row)
    lines = [_heading(description)]
    for title, rows in groups:
        if rows:
            lines.append(f"\n{title}")
        for name, value in rows:
            lines.append(f"  {name:<{name_width}}  {value:>{value_width}}")
    return "\n".join(lines)


def _heading(description: Description) -> str:
    lengths = f"context {description.target_tokens:,}"
    if description.source_tokens:
        lengths = (
            f"sources of {description.source_tokens:,} and targets of "
            f"{description.target_tokens:,} tokens"
        )
    limit = "at most " if description.vocabulary_at_most else ""
    return f"{description.model}: {limit}{description.vocabulary_size:,} token ids, {lengths}"


def _counts(description: Description) -> list[tuple[str, str]]:
    rows = [(name, f"{count:,}") for name, count in description.parameters_by_part.items()]
    return [*rows, ("total", f"{description.parameters:,}")]


def _scaled(number: int, base: int, units: tuple[str, ...]) -> str:
    value = float(number)
    for unit in units:
        if value < base or unit == units[-1]:
            break
        value /= base
    if unit == units[0]:
        return f"{value:.0f} {unit}".rstrip()
    return f"{value:.1f} {unit}"
