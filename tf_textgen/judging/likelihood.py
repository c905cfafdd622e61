"""The likelihood of text under a model, as metrics that weight every token equally."""

from __future__ import annotations

from typing import Any

import keras

from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dataset import evaluation_batches
from tf_textgen.errors import UserError
from tf_textgen.models import model_kind
from tf_textgen.objectives.perplexity import bits_per_byte, perplexity
from tf_textgen.runs import loading
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_folder import LoadedRun
from tf_textgen.runs.xla import use_xla


def evaluate(
    model: keras.Model, batches: Any, bytes_per_token: float | None = None, steps: int | None = None
) -> dict[str, Any]:
    """Computes the metrics of `model` over all `batches`, and resets its running metrics.

    Args:
      model: the compiled model.
      batches: a dataset of one pass.
      bytes_per_token: of the text, if known.
      steps: number of batches if they are distributed, because Keras would count the part of each
        replica as a step.

    Returns:
      `nats_per_token`, `perplexity`, `accuracy`, `tokens`, and `bits_per_byte` if `bytes_per_token`
      is known.
    """
    values = model.evaluate(batches, verbose=0, steps=steps, return_dict=True)
    model.reset_metrics()
    loss = float(values["loss"])
    metrics: dict[str, Any] = {"nats_per_token": loss, "perplexity": perplexity(loss)}
    if bytes_per_token:
        metrics["bits_per_byte"] = bits_per_byte(loss, bytes_per_token)
    metrics["accuracy"] = float(values["accuracy"])
    metrics["tokens"] = round(float(values["tokens"]))
    return metrics


def evaluate_split(
    run: LoadedRun, data: DataConfig, *, split: str = "valid", stride: int | None = None
) -> dict[str, Any]:
    """Evaluates a run on every token of a split, once.

    Args:
      run: the run.
      data: the files of the split and how they are read.
      split: name of the split.
      stride: distance between the starts of the windows in tokens; None is the context.

    Returns:
      `nats_per_token`, `perplexity`, `bits_per_byte`, `accuracy`, `tokens` and `bytes`.

    Raises:
      UserError: if there is no such split, its files do not have the format that `data` says, or
        the stride is longer than the context.
    """
    if stride and stride > data.context:
        raise UserError(f"--stride={stride}: expected at most the context of {data.context} tokens")
    text = loading.open_split(run, data, split)
    kind = model_kind(run.config["model"])
    batches = evaluation_batches(text, data, model_kind=kind, stride=stride)
    run_config = RunConfig.from_json(run.config["run"])
    jit_compile = use_xla(run_config, run.model, is_pairs=data.is_pairs)
    run.model.compile(carried_rows=data.carried_rows, jit_compile=jit_compile)
    metrics = evaluate(run.model, batches, text.num_bytes / text.num_tokens)
    return {**metrics, "bytes": text.num_bytes}
