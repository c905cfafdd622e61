"""Judges a run on a split or given files: nats and bits over every token, and the texts that it
generates.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from tf_textgen import config
from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.data.files import expand
from tf_textgen.errors import UserError
from tf_textgen.judging import generation_metrics
from tf_textgen.runs import loading
from tf_textgen.runs.run_config import RunConfig

if TYPE_CHECKING:
    from tf_textgen.runs.run_folder import LoadedRun

HELP = "Judge a run: perplexity, bits a byte; BLEU, chrF, ROUGE, diversity of what it generates."


def define_flags(flag_values: flags.FlagValues) -> None:
    loading.define_run_flags(flag_values)
    config.define_flags(DataConfig, flag_values)
    flags.DEFINE_enum(
        "split", "valid", SPLITS, "Split of the run's data to judge on.", flag_values=flag_values
    )
    files_help = "Files to judge on instead of a split (globs, .gz), in the run's data format."
    flags.DEFINE_multi_string("file", [], files_help, flag_values=flag_values)
    target_help = "Target side of --file, line by line, if the run's data format is parallel."
    flags.DEFINE_multi_string("target_file", [], target_help, flag_values=flag_values)
    stride_help = (
        "Distance of the windows' beginnings, in tokens; none is the context. Smaller gives each "
        "token at least context - stride tokens before it and takes as many times longer."
    )
    flags.DEFINE_integer("stride", None, stride_help, lower_bound=1, flag_values=flag_values)
    generation_metrics.define_flags(flag_values)
    flags.DEFINE_boolean("json", False, "Write one JSON object.", flag_values=flag_values)
    text = "Write the figures here too, as JSON with command, version, device and checkpoint."
    flags.DEFINE_string("record", None, text, flag_values=flag_values)


def run(flag_values: flags.FlagValues) -> None:
    metrics = generation_metrics.asked_metrics(flag_values)
    loading.check_decoding(flag_values)
    for name in ("record", "output"):
        _check_folder(name, flag_values[name].value)
    loaded = loading.load(flag_values)
    files, target_files = (tuple(flag_values[name].value or ()) for name in ("file", "target_file"))
    data = DataConfig.from_json(loaded.config["data"])
    split = str(flag_values["split"].value)
    if files or target_files:  # the run's own files, in another form perhaps, play no part
        none: dict[str, Any] = {name: () for split in SPLITS for name in (split, f"{split}_target")}
        data = dataclasses.replace(data, **none)
    data = config.override(data, flag_values)
    generation_metrics.check_metrics(metrics, data)
    if files or target_files:
        data = _with_files(data, files, target_files)
        split = "test"
    for name in ("record", "output"):
        _check_not_read(name, flag_values[name].value, data)
    results: dict[str, Any] = {}
    if "likelihood" in metrics:
        results = evaluate(loaded, data, split=split, stride=flag_values["stride"].value)
    others = [name for name in metrics if name != "likelihood"]
    if others:
        results |= generation_metrics.judge(loaded, data, split, others, flag_values)
    if flag_values["record"].value:
        _write_record(Path(flag_values["record"].value), loaded, split, results, flag_values)
    _print(results, as_json=bool(flag_values["json"].value))


def evaluate(
    loaded: LoadedRun,
    data: DataConfig,
    *,
    split: str = "valid",
    stride: int | None = None,
) -> dict[str, float]:
    """Judges every token of a split once.

    Args:
      loaded: the run.
      data: how the split's files are read.
      split: its name.
      stride: distance of the windows' beginnings; None is the context.

    Returns:
      nats_per_token, perplexity, bits_per_byte, accuracy, tokens and bytes.

    Raises:
      UserError: if the run has no such split, the files are not what `data` says, or the stride
        is longer than the context.
    """
    from tf_textgen.data.dataset import evaluation_batches
    from tf_textgen.judging import likelihood
    from tf_textgen.models import model_kind
    from tf_textgen.runs.xla import use_xla

    if stride and stride > data.context:
        raise UserError(f"--stride={stride}: expected at most the context of {data.context} tokens")
    text = loading.open_split(loaded, data, split)
    batches = evaluation_batches(
        text, data, model_kind=model_kind(loaded.config["model"]), stride=stride
    )
    run_config = RunConfig.from_json(loaded.config["run"])
    jit_compile = use_xla(run_config, loaded.model, is_pairs=data.is_pairs)
    loaded.model.compile(carried_rows=data.carried_rows, jit_compile=jit_compile)
    metrics = likelihood.evaluate(loaded.model, batches, text.num_bytes / text.num_tokens)
    return {**metrics, "bytes": text.num_bytes}


def _with_files(
    data: DataConfig, files: tuple[str, ...], target_files: tuple[str, ...]
) -> DataConfig:
    """`data` with these files as its split `test`, found here so that errors name the flags that
    were given.
    """
    if (data.format == "parallel") != bool(target_files):
        wanted = (
            "the target side too; give --target_file"
            if not target_files
            else "--file alone; leave it out"
        )
        came = "--file" if not target_files else f"--target_file={target_files[0]}"
        raise UserError(f"{came} with --data.format={data.format}: expected {wanted}")
    if not files:
        raise UserError(
            f"--target_file={target_files[0]} without --file: expected both sides of the pairs; "
            "give both"
        )
    sources = expand(files, "file")
    targets = expand(target_files, "target_file")
    if targets and len(sources) != len(targets):
        raise UserError(
            f"--file names {len(sources)} files and --target_file {len(targets)}: expected one "
            "target file for each source file"
        )
    return dataclasses.replace(data, test=tuple(sources), test_target=tuple(targets))


def _check_folder(flag: str, path: str | None) -> None:
    """Raises `UserError` if a file could not be written, before hours of work end with that."""
    if not path:
        return
    if Path(path).is_dir():
        raise UserError(f"--{flag}={path}: a folder; expected the name of a file to write")
    if not Path(path).parent.is_dir():
        raise UserError(
            f"--{flag}={path}: no folder {Path(path).parent}; expected one that exists; make it"
        )
    try:
        tempfile.TemporaryFile(dir=Path(path).parent).close()
    except OSError as error:
        raise UserError(
            f"--{flag}={path}: {error.strerror}; expected a file in a folder that may be written"
        ) from error


def _check_not_read(flag: str, path: str | None, data: DataConfig) -> None:
    if not path:
        return
    patterns = [
        file
        for split in SPLITS
        for name in (split, f"{split}_target")
        for file in getattr(data, name)
    ]
    written = Path(path).resolve()
    if any(
        written == read or written.match(str(read))
        for read in map(Path.resolve, map(Path, patterns))
    ):
        raise UserError(
            f"--{flag}={path}: this file is read and would be lost; expected another name"
        )


def _write_record(
    path: Path,
    loaded: LoadedRun,
    split: str,
    results: dict[str, Any],
    flag_values: flags.FlagValues,
) -> None:
    from tf_textgen import atomic_files
    from tf_textgen.runs import record

    given = [flag_values[name].serialize() for name in flag_values if flag_values[name].present]
    lines = [line for flag in given for line in flag.split("\n") if line]
    about = {
        "command": shlex.join(["python", "-m", "tf_textgen", "evaluate", *lines]),
        **record.source_version(),
        "device": record.describe_device(),
        "model": loaded.config["model"],
        "step": loaded.step,
        "weights": loaded.weights,
        "split": split,
    }
    atomic_files.write_json(path, {**about, **results})


def _print(results: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
        return
    for name, value in results.items():
        shown = (
            value
            if isinstance(value, str)
            else f"{value:,}"
            if isinstance(value, int)
            else f"{value:.4f}"
        )
        print(f"{name:<20} {shown}")
