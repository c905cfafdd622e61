"""`run.json`: the record of a run, flat, so that records make a table."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_textgen.runs.measurement import Measurement
from tf_textgen.runs.recorded_config import RecordedConfig
from tf_textgen.runs.run_state import RunState

_PACKAGES = ("tensorflow", "keras", "tensorflow-text", "numpy")


class FitResult(NamedTuple):
    """How `fit` ended.

    Attributes:
      last: the last measurement; None if no step was left to do.
      tokens_per_second: over all measured steps of this call; 0 if there were none.
      signal: number of the signal that ended it, or None.
    """

    last: Measurement | None
    tokens_per_second: float
    signal: int | None


def make_record(
    command: Sequence[str],
    config: RecordedConfig,
    state: RunState,
    model: keras.Model,
    result: FitResult,
    best_step: int,
    validation: Mapping[str, float],
    before: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes the record: the run, its device, and its results.

    Args:
      command: flags of `train`, resolved.
      config: of the run.
      state: at its end.
      model: gives the number of parameters, those no optimizer moves included.
      result: of `fit`; its last interval gives `train.*`.
      best_step: step of the checkpoint that was validated.
      validation: its metrics, written as `validation.NAME` (`validation.nats_per_token`).
      before: an earlier record of the run, whose speed and `train.*` stay if `result` has none.
      baseline: another run's validation, written as `baseline.NAME`.
    """
    earlier = before or {}
    speed = result.tokens_per_second or earlier.get("tokens_per_second", 0.0)
    record = {
        **describe_origin("train", command, config, model),
        "steps": state.step,
        "steps_for_minutes": state.steps_for_minutes,
        "best_step": best_step,
        "early_stopped": state.early_stopped,
        "tokens": state.tokens,
        "wall_time_s": round(state.seconds, 1),
        "tokens_per_second": round(speed, 1),
    }
    decay = config.optimizer.ema_decay
    if decay:
        record["ema_decay"] = decay
    record.update(_train_metrics(result.last, earlier))
    for name, value in validation.items():
        record[f"validation.{name}"] = value
    for name, value in (baseline or {}).items():
        record[f"baseline.{name}"] = value
    return record


def _train_metrics(last: Measurement | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metrics of the last measurement, or those of an earlier record without one."""
    if last is None:
        return {name: value for name, value in before.items() if name.startswith("train.")}
    return {
        "train.nats_per_token": last.loss,
        "train.perplexity": last.perplexity,
        "train.accuracy": last.accuracy,
    }


def describe_origin(
    job: str, flags: Sequence[str], config: RecordedConfig, model: keras.Model
) -> dict[str, Any]:
    """Returns the first part of a record: the command that made it, the versions, the device and
    the model.
    """
    return {
        "command": shlex.join(["python", "-m", "tf_textgen", job, *flags]),
        **source_version(),
        **{f"versions.{name}": importlib.metadata.version(name) for name in _PACKAGES},
        "versions.python": platform.python_version(),
        "device": describe_device(),
        "model": config.model,
        "parameters": model.count_params(),
        "seed": config.run.seed,
        "precision": config.run.precision,
    }


def source_version() -> dict[str, str]:
    """Returns `version` of the package, and `commit` if it runs from a git checkout of itself."""
    found = {}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["version"] = importlib.metadata.version("tf_textgen")
    try:
        # Fails unless git tracks the package.
        _git("ls-files", "--error-unmatch", "__init__.py")
        commit = _git("rev-parse", "HEAD").strip()
        has_changes = bool(_git("status", "--porcelain", ".").strip())
    except (OSError, subprocess.SubprocessError):
        return found or {"version": "unknown"}
    found["commit"] = f"{commit}-dirty" if has_changes else commit
    return found


def _git(*arguments: str) -> str:
    process = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=10,
    )
    return process.stdout


def describe_device() -> str:
    """Returns the device for a table of speeds: `NVIDIA A100, 1 GPU` or `x86_64, 2 CPU cores`."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return f"{name}, {len(gpus)} GPU"
    return f"{_processor()}, {_num_cores()} CPU cores"


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.machine()
