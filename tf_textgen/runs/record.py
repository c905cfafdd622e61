"""`run.json`: the record of a run, flat, so that records make a table."""

from __future__ import annotations

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
    config: Mapping[str, Any],
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
      config: of the run, as in `config.json`.
      state: at its end.
      model: gives the number of parameters, those no optimizer moves included.
      result: of `fit`; its last interval gives `train.*`.
      best_step: step of the checkpoint that was validated.
      validation: its metrics, written as `validation.NAME` (`validation.nats_per_token`).
      before: an earlier record of the run, whose speed and `train.*` stay if `result` has none.
      baseline: another run's validation, written as `baseline.NAME`.
    """
    train = {name: value for name, value in (before or {}).items() if name.startswith("train.")}
    if result.last is not None:
        last = result.last
        train = {
            "train.nats_per_token": last.loss,
            "train.perplexity": last.perplexity,
            "train.accuracy": last.accuracy,
        }
    speed = result.tokens_per_second or (before or {}).get("tokens_per_second", 0.0)
    return {
        **describe_origin("train", command, config, model),
        "steps": state.step,
        "steps_for_minutes": state.steps_for_minutes,
        "best_step": best_step,
        "early_stopped": state.early_stopped,
        "tokens": state.tokens,
        "wall_time_s": round(state.seconds, 1),
        "tokens_per_second": round(speed, 1),
        **({"ema_decay": decay} if (decay := config["optimizer"]["ema_decay"]) else {}),
        **train,
        **{f"validation.{name}": value for name, value in validation.items()},
        **{f"baseline.{name}": value for name, value in (baseline or {}).items()},
    }


def describe_origin(
    job: str, flags: Sequence[str], config: Mapping[str, Any], model: keras.Model
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
        "model": config["model"],
        "parameters": model.count_params(),
        "seed": config["run"]["seed"],
        "precision": config["run"]["precision"],
    }


def source_version() -> dict[str, str]:
    """`version` of the package, and `commit` if it runs from a git checkout of itself."""
    found = {"version": importlib.metadata.version("tf_textgen")} if _is_installed() else {}
    package = Path(__file__).resolve().parent.parent
    commands = {
        "tracked": ["git", "ls-files", "--error-unmatch", "__init__.py"],
        "commit": ["git", "rev-parse", "HEAD"],
        "changes": ["git", "status", "--porcelain", "."],
    }
    try:
        outputs = {
            name: subprocess.run(
                command,
                cwd=package,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=True,
                timeout=10,
            ).stdout
            for name, command in commands.items()
        }
    except (OSError, subprocess.SubprocessError):
        return found or {"version": "unknown"}
    return {
        **found,
        "commit": outputs["commit"].strip() + ("-dirty" if outputs["changes"].strip() else ""),
    }


def _is_installed() -> bool:
    try:
        importlib.metadata.version("tf_textgen")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def describe_device() -> str:
    """Describes the device as next to a speed: `NVIDIA A100, 1 GPU` or `x86_64, 2 CPU cores`."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return f"{name}, {len(gpus)} GPU"
    return f"{_processor()}, {len(_cores())} CPU cores"


def _cores() -> set[int]:
    return (
        os.sched_getaffinity(0)
        if hasattr(os, "sched_getaffinity")
        else set(range(os.cpu_count() or 1))
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.machine()
