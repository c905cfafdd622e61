"""Says what a recipe or a run costs before anybody pays: weights, operations and memory.

The formulas, and what they leave out, stand in `models.cost_parts`. Imports TensorFlow only to read
`--tokenizer.dir`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from absl import flags

from tf_textgen import config
from tf_textgen.config import Config
from tf_textgen.data.corpus_table import CORPORA
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.models import MODELS, family, model_kind
from tf_textgen.models.cost_parts import BYTES, FLOAT32_BYTES, Costs, optimizer_numbers
from tf_textgen.models.costs import costs, with_frozen_embeddings
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.runs import recipe
from tf_textgen.runs.embedding_config import EmbeddingConfig
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_folder import read_config
from tf_textgen.text.tokenizer_config import TokenizerConfig

HELP = "Describe a recipe or a run: parameters, FLOPs a token, memory for training and serving."
_BYTES_TOKENS = 261  # the bytes and the special tokens


@dataclasses.dataclass(frozen=True)
class Description:
    """What `describe` finds; all memory in bytes, all FLOPs for one token.

    Attributes:
      source_tokens, target_tokens: the lengths that FLOPs and memory are given for; no sources in a
        language model.
      batch_tokens: tokens of one training batch, of both sides.
      training_flops, training_memory: empty if nothing is trained by gradients.
      vocabulary_at_most: whether the number of token ids is a limit that the text may not reach.
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


def define_flags(flag_values: flags.FlagValues) -> None:
    recipe.define_flags(flag_values)
    text = "Number of token ids; unset: that of the run or of --tokenizer.dir, else what --tokenizer.* allows at most."
    flags.DEFINE_integer("vocabulary_size", None, text, lower_bound=1, flag_values=flag_values)
    text = "Tokens that the model looks at: of the text, or of source and target each; unset: what the data gives."
    flags.DEFINE_integer("context", None, text, lower_bound=1, flag_values=flag_values)
    flags.DEFINE_boolean("json", False, "Write one JSON object.", flag_values=flag_values)


def run(flag_values: flags.FlagValues) -> None:
    found = describe_flags(flag_values)
    print(
        json.dumps(dataclasses.asdict(found)) if flag_values["json"].value else format_table(found)
    )


def describe_flags(flag_values: flags.FlagValues) -> Description:
    """Describes the run in `--run.dir` if there is one, with the command line's changes; else the
    recipe.

    Raises:
      UserError: if `--run.dir` is no run and no recipe is given either.
    """
    parts: dict[str, type[Config]] = {
        name: recipe.PARTS[name] for name in ("data", "optimizer", "run", "embedding")
    }
    found: dict[str, Any]
    name: str
    at_most = False
    directory = flag_values["run.dir"].value
    if directory and (
        os.path.exists(os.path.join(directory, "config.json")) or not _gives_recipe(flag_values)
    ):
        recorded = read_config(directory)
        name = recorded["model"]
        model: Any = config.override(
            family(name).config_class.from_json(recorded["model_config"]), flag_values
        )
        found = {
            k: config.override(v.from_json(recorded.get(k, {})), flag_values)
            for k, v in parts.items()
        }
        if flag_values["vocabulary_size"].value:
            model = dataclasses.replace(model, vocabulary_size=flag_values["vocabulary_size"].value)
    else:
        name = str(flag_values["model"].value)
        if family(name).trained_by == "counting":
            raise UserError(
                f"--model={name}: its size follows from counting; expected --run.dir of a run that "
                "train has counted; train first"
            )
        size, at_most = _vocabulary_size(flag_values)
        sizes = {"vocabulary_size": size}
        if not flag_values["tokenizer.shared"].value and model_kind(name) == "encoder_decoder":
            sizes["source_vocabulary_size"], _ = _vocabulary_size(
                flag_values, "source_tokenizer.dir"
            )
        model = config.from_flags(family(name).config_class, flag_values, **sizes)
        found = {k: config.from_flags(v, flag_values) for k, v in parts.items()}
    recipe.check_embedding(name, found["embedding"])
    described = describe(name, model, **found, context=flag_values["context"].value)
    return dataclasses.replace(described, vocabulary_at_most=at_most)


def describe(
    name: str,
    model: Any,
    data: DataConfig,
    optimizer: OptimizerConfig,
    run: RunConfig,
    embedding: EmbeddingConfig,
    context: int | None = None,
) -> Description:
    """The costs of training and serving one model.

    Args:
      name: of the family.
      model: its configuration.
      data: gives the lengths of rows and the size of a batch.
      optimizer: gives the size of its state.
      run: gives the precision.
      embedding: says which tables are not trained.
      context: tokens that the model looks at; None takes them from `data`.
    """
    corpus = CORPORA.get(data.corpus or "")
    pairs = data.is_pairs or (corpus is not None and corpus.format in ("tsv", "dialogue"))
    reads_source = model_kind(name) == "encoder_decoder"
    source = (context or data.max_source_tokens) if reads_source else 0
    target = context or (data.max_target_tokens if reads_source else data.context)
    if pairs and not reads_source:  # `<s> source <sep> target` in one row
        target = context or data.max_source_tokens + data.max_target_tokens + 2
    batch = data.batch_tokens if pairs or reads_source else data.batch_size * target
    found = costs(model, source_tokens=source, target_tokens=target)
    if not embedding.trainable:
        found = with_frozen_embeddings(found, embedding.side)
    sides = ("source", "target") if reads_source else ("target",)
    return Description(
        model=name,
        vocabulary_size=model.vocabulary_size,
        source_tokens=source,
        target_tokens=target,
        batch_tokens=batch,
        parameters=found.parameters,
        parameters_by_part={part.name: part.parameters for part in found.parts if part.parameters},
        inference_flops={side: found.forward_flops(side) for side in sides},
        training_flops={side: found.training_flops(side) for side in sides}
        if found.trained_weights()
        else {},
        training_memory=_training_memory(
            found, optimizer, batch // len(sides), sides, BYTES[run.precision]
        ),
        serving_memory={
            "weights": found.weight_bytes,
            "cache, one row": FLOAT32_BYTES * found.cache,
        },
    )


def format_table(found: Description) -> str:
    """The description as aligned lines."""
    rows: list[tuple[str, str]] = [("", "parameters")]
    rows += [(name, f"{count:,}") for name, count in found.parameters_by_part.items()]
    rows.append(("total", f"{found.parameters:,}"))
    both = len(found.inference_flops) > 1
    for title, table in (("inference", found.inference_flops), ("training", found.training_flops)):
        if table:
            rows.append(("", f"FLOPs a token, {title}"))
        rows += [(f"{k} token" if both else "token", _flops(v)) for k, v in table.items()]
    training = f"memory for training, batches of {found.batch_tokens:,} tokens"
    for title, table in (
        (training, found.training_memory),
        ("memory for serving, float32", found.serving_memory),
    ):
        if table:
            rows.append(("", title))
        rows += [(name, _memory(size)) for name, size in table.items()]
    lengths = f"context {found.target_tokens:,}"
    if both:
        lengths = (
            f"sources of {found.source_tokens:,} and targets of {found.target_tokens:,} tokens"
        )
    limit = "at most " if found.vocabulary_at_most else ""
    lines = [f"{found.model}: {limit}{found.vocabulary_size:,} token ids, {lengths}"]
    name_width = max(len(name) for name, _ in rows)
    value_width = max(len(value) for name, value in rows if name)
    for name, value in rows:
        lines.append(f"  {name:<{name_width}}  {value:>{value_width}}" if name else f"\n{value}")
    return "\n".join(lines)


def _training_memory(
    found: Costs,
    optimizer: OptimizerConfig,
    tokens: int,
    sides: tuple[str, ...],
    activation_bytes: int,
) -> dict[str, int]:
    """Bytes; `tokens` are those of each side in one batch."""
    trained = found.trained_weights()
    if not trained:
        return {}
    memory = {
        "weights": found.weight_bytes,
        "gradients": FLOAT32_BYTES * sum(weight.size for weight in trained),
        f"optimizer ({optimizer.name})": FLOAT32_BYTES
        * optimizer_numbers(optimizer.name, optimizer.momentum, trained),
        **(
            {"moving average": FLOAT32_BYTES * sum(w.size for w in trained)}
            if optimizer.ema_decay
            else {}
        ),
        "activations, about": activation_bytes
        * tokens
        * sum(found.activations(side) for side in sides),
    }
    return {**memory, "total, about": sum(memory.values())}


def _gives_recipe(flag_values: flags.FlagValues) -> bool:
    """Whether the command line or a flagfile says anything about the model or its data."""
    prefixes = tuple(f"{entry.config_class.prefix}." for entry in MODELS.values())
    return any(
        flag_values[name].present
        for name in flag_values
        if name == "model" or name.startswith((*prefixes, "data.", "tokenizer."))
    )


def _vocabulary_size(
    flag_values: flags.FlagValues, folder: str = "tokenizer.dir"
) -> tuple[int, bool]:
    """The number of token ids, and whether it is only a limit."""
    if flag_values["vocabulary_size"].value:
        return flag_values["vocabulary_size"].value, False
    if directory := flag_values[folder].value:
        from tf_textgen.text import load_tokenizer

        return load_tokenizer(directory).vocabulary_size, False
    tokenizer = config.from_flags(TokenizerConfig, flag_values)
    if tokenizer.kind == "bytes":
        return _BYTES_TOKENS, False
    return tokenizer.vocabulary_size, tokenizer.kind in ("words", "characters")


def _flops(count: int) -> str:
    return _scaled(count, 1000, ("", "k", "M", "G", "T"))


def _memory(size: int) -> str:
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _scaled(number: int, base: int, units: tuple[str, ...]) -> str:
    value = float(number)
    at = 0
    while value >= base and at < len(units) - 1:
        value = value / base
        at = at + 1
    return f"{value:.0f} {units[at]}".rstrip() if at == 0 else f"{value:.1f} {units[at]}"
