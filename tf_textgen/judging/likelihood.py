"""The likelihood of text under a model, as metrics that weight every token equally."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dataset import evaluation_batches
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.errors import UserError
from tf_textgen.models import model_kind
from tf_textgen.objectives.perplexity import bits_per_byte, perplexity
from tf_textgen.runs import loading
from tf_textgen.runs.recorded_paths import other_files
from tf_textgen.runs.run_folder import LoadedRun
from tf_textgen.runs.xla import use_xla


def evaluate(
    model: keras.Model,
    batches: Any,
    bytes_per_token: float | None = None,
    steps: int | None = None,
    unknown_byte_share: float = 0.0,
) -> dict[str, Any]:
    """Computes the metrics of `model` over all `batches`, and resets its running metrics.

    Args:
      model: the compiled model.
      batches: a dataset of one pass.
      bytes_per_token: of the text, if known.
      steps: number of batches if they are distributed, because Keras would count the part of each
        replica as a step.
      unknown_byte_share: share of the bytes of the text that unknown tokens hide.

    Returns:
      `nats_per_token`, `perplexity`, `accuracy`, `tokens`, and `bits_per_byte` if `bytes_per_token`
      is known; `unknown_byte_share` if it is not 0, since `bits_per_byte` charges these bytes.
    """
    values = model.evaluate(batches, verbose=0, steps=steps, return_dict=True)
    model.reset_metrics()
    loss = float(values["loss"])
    metrics: dict[str, Any] = {"nats_per_token": loss, "perplexity": perplexity(loss)}
    if bytes_per_token:
        metrics["bits_per_byte"] = bits_per_byte(loss, bytes_per_token, unknown_byte_share)
    if unknown_byte_share:
        metrics["unknown_byte_share"] = unknown_byte_share
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
      `nats_per_token`, `perplexity`, `bits_per_byte`, `accuracy`, `tokens` and `bytes`. If they are
      not 0, also `unknown_byte_share`, `overlap_with_training` (a share of the bytes), and the
      numbers of pairs of the files that are left out or cut.

    Raises:
      UserError: if there is no such split, its files do not have the format that `data` says, they
        have changed since the training, or the stride is longer than the context.
    """
    if stride and stride > data.context:
        raise UserError(f"--stride={stride}: expected at most the context of {data.context} tokens")
    text = loading.open_split(run, data, split)
    _check_unchanged(run, data, text)
    kind = model_kind(run.config.model)
    batches = evaluation_batches(text, data, model_kind=kind, stride=stride)
    jit_compile = use_xla(run.config.run, run.model, is_pairs=data.is_pairs)
    run.model.compile(carried_rows=data.carried_rows, jit_compile=jit_compile)
    metrics = evaluate(
        run.model,
        batches,
        text.num_bytes / text.num_tokens,
        unknown_byte_share=text.unknown_byte_share,
    )
    metrics["bytes"] = text.num_bytes
    counts = {
        "over_long_dropped": text.dropped,
        "over_long_cut": text.cut,
        "empty_dropped": text.empty,
    }
    metrics |= {name: count for name, count in counts.items() if count}
    return metrics


def _check_unchanged(run: LoadedRun, data: DataConfig, text: TokenizedSplit) -> None:
    """Raises `UserError` if the files of a split of the run have changed since the training.

    Files that the command line names instead are not compared.
    """
    trained = run.data
    recorded = run.config.files.get(text.name)
    sources = ("train", "train_target") if text.is_cut else (text.name, f"{text.name}_target")
    is_own = all(getattr(data, name) == getattr(trained, name) for name in sources)
    if not is_own:
        return
    for name in sources:
        _note_other_files(getattr(run.config.data, name), getattr(data, name), run.config.paths)
    if recorded is None:
        return
    before = _digests(recorded)
    now = _digests(text.shards.manifest["files"])
    for (old_name, expected), (name, digest) in zip(before, now, strict=False):
        if digest != expected:
            raise UserError(
                f"{name} has changed since the training: SHA-256 {digest}, expected {expected} of "
                f"{old_name}; restore the file, or name other text with --file"
            )
    if len(now) != len(before):
        raise UserError(
            f"--split={text.name} has {len(now)} files, expected the {len(before)} of the "
            "training; restore them, or name other text with --file"
        )


def _note_other_files(
    given: Sequence[str], located: Sequence[str], paths: Mapping[str, str]
) -> None:
    """Prints which files are read, if the paths of the run name others in the current folder."""
    for path, absolute in other_files(given, paths):
        if absolute in located:
            print(
                f"note: {path} in the current folder is another file; the file of the run, "
                f"{absolute}, is read",
                file=sys.stderr,
            )


def _digests(files: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """Returns name and SHA-256 of all files, of both sides."""
    return [(file["name"], file["sha256"]) for side in files for file in side]
