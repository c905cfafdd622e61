"""Judges a run on text: nats and bits over every token of a split or of given files."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from absl import flags

from tf_textgen import config
from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.data.files import expand
from tf_textgen.errors import UserError
from tf_textgen.jobs import loading
from tf_textgen.training.run_config import RunConfig

if TYPE_CHECKING:
    from tf_textgen.training.run_folder import LoadedRun

HELP = "Judge a run: nats a token, perplexity, bits a byte."


def define_flags(flag_values: flags.FlagValues) -> None:
    loading.define_run_flags(flag_values)
    config.define_flags(DataConfig, flag_values)
    flags.DEFINE_enum("split", "valid", SPLITS, "Split of the run's data to judge on.", flag_values=flag_values)
    files_help = "Files to judge on in place of a split (globs, .gz), in the run's data format."
    flags.DEFINE_multi_string("file", [], files_help, flag_values=flag_values)
    target_help = "Target side of --file, line by line, where the run's data format is parallel."
    flags.DEFINE_multi_string("target_file", [], target_help, flag_values=flag_values)
    stride_help = (
        "Distance of the windows' beginnings, in tokens; none is the context. Smaller gives each token at least "
        "context - stride tokens before it and takes as many times longer."
    )
    flags.DEFINE_integer("stride", None, stride_help, lower_bound=1, flag_values=flag_values)
    flags.DEFINE_boolean("json", False, "Write one JSON object.", flag_values=flag_values)


def run(flag_values: flags.FlagValues) -> None:
    loaded = loading.load(flag_values)
    files, target_files = (tuple(flag_values[name].value or ()) for name in ("file", "target_file"))
    data = DataConfig.from_json(loaded.config["data"])
    if files or target_files:  # the run's own files, in another form perhaps, play no part
        none: dict[str, Any] = {name: () for split in SPLITS for name in (split, f"{split}_target")}
        data = dataclasses.replace(data, **none)
    metrics = evaluate(
        loaded,
        config.override(data, flag_values),
        split=str(flag_values["split"].value),
        files=files,
        target_files=target_files,
        stride=flag_values["stride"].value,
    )
    if flag_values["json"].value:
        print(json.dumps(metrics))
        return
    for name, value in metrics.items():
        print(f"{name:<16} {value:,}" if isinstance(value, int) else f"{name:<16} {value:.4f}")


def evaluate(
    loaded: LoadedRun,
    data: DataConfig,
    *,
    split: str = "valid",
    files: tuple[str, ...] = (),
    target_files: tuple[str, ...] = (),
    stride: int | None = None,
) -> dict[str, float]:
    """Judges every token of a split once.

    Args:
      loaded: the run.
      data: how the split's files are read.
      split: its name.
      files: judged in its place.
      target_files: their target side, where pairs stand in two files.
      stride: distance of the windows' beginnings; None is the context.

    Returns:
      nats_per_token, perplexity, bits_per_byte, accuracy, tokens and bytes.

    Raises:
      UserError: where the run has no such split, the files are not what `data` says, or the stride is longer than
        the context.
    """
    from tf_textgen.data.dataset import evaluation_batches, open_corpus
    from tf_textgen.models import model_kind
    from tf_textgen.training import validation
    from tf_textgen.training.fitting import use_xla

    if files or target_files:
        data, split = _with_files(data, files, target_files), "test"
    if stride and stride > data.context:
        raise UserError(f"--stride={stride}: expected at most the context of {data.context} tokens")
    opened = open_corpus(data, loaded.tokenizer, (split,), loaded.source_tokenizer)
    if split not in opened:
        raise UserError(f"--split={split}: the run has no such data; give --file or --data.{split}")
    batches = evaluation_batches(opened[split], data, model_kind=model_kind(loaded.config["model"]), stride=stride)
    run_config = RunConfig.from_json(loaded.config["run"])
    jit_compile = use_xla(run_config, loaded.model, is_pairs=data.is_pairs)
    loaded.model.compile(carried_rows=data.carried_rows, jit_compile=jit_compile)
    text = opened[split]
    metrics = validation.evaluate(loaded.model, batches, text.num_bytes / text.num_tokens)
    return {**metrics, "bytes": text.num_bytes}


def _with_files(data: DataConfig, files: tuple[str, ...], target_files: tuple[str, ...]) -> DataConfig:
    """`data` with these files as its split `test`, found here so that errors name the flags that were given."""
    if (data.format == "parallel") != bool(target_files):
        wanted = "the target side too; give --target_file" if not target_files else "--file alone; leave it out"
        came = "--file" if not target_files else f"--target_file={target_files[0]}"
        raise UserError(f"{came} with --data.format={data.format}: expected {wanted}")
    if not files:
        raise UserError(f"--target_file={target_files[0]} without --file: expected both sides of the pairs; give both")
    sources, targets = expand(files, "file"), expand(target_files, "target_file")
    if targets and len(sources) != len(targets):
        raise UserError(
            f"--file names {len(sources)} files and --target_file {len(targets)}: expected one target file for each "
            "source file"
        )
    return dataclasses.replace(data, test=tuple(sources), test_target=tuple(targets))
