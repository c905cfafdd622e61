"""Writes the mean of the last checkpoints of a run as a new run, for every job except `train`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.config import define_path_flag
from tf_textgen.errors import UserError, job_command
from tf_textgen.jobs import run_flags
from tf_textgen.runs.kept_files import check_outside_runs
from tf_textgen.runs.recorded_config import RecordedConfig, read_config

HELP = "Write the mean of the last checkpoints of a run as a new run."


def define_flags(flag_values: flags.FlagValues) -> None:
    run_flags.define_run_dir_flag(flag_values)
    text = (
        "Number of checkpoints to average, the newest ones; train keeps --run.keep_checkpoints of "
        "them. 5 as in Vaswani et al. 2017, section 6.1."
    )
    flags.DEFINE_integer("last", 5, text, lower_bound=2, flag_values=flag_values)
    define_path_flag("output", None, "Run folder to create.", flag_values)


def run(flag_values: flags.FlagValues) -> None:
    source = Path(run_flags.run_dir(flag_values))
    last: Any = flag_values["last"].value
    config = read_config(source)
    _check_source(source, config)
    output = _output(source, flag_values["output"].value)
    import_tensorflow_quietly()
    from tf_textgen.runs.averaging import write_average

    given = [f"--run.dir={source}", f"--last={last}", f"--output={output}"]
    steps = write_average(source, config, last, output, given)
    listed = ", ".join(str(step) for step in steps)
    print(f"{output}: the mean of the weights of {source} at the steps {listed}")
    if config.optimizer.ema_decay:
        print("  of the trained weights, not of their moving averages")
    print("next:")
    for job in ("evaluate", "generate", "export"):
        print(f"  {job_command(job)} --run.dir={shlex.quote(str(output))}")


def _check_source(source: Path, config: RecordedConfig) -> None:
    """Raises `UserError` if the checkpoints of a run cannot be averaged."""
    if config.kind == "counted":
        raise UserError(
            f"--run.dir={source} holds counts (--model={config.model}) in one checkpoint: "
            "expected a model trained by steps; choose another run"
        )
    if config.kind == "average":
        raise UserError(
            f"--run.dir={source} is already a mean of checkpoints: expected a run that train "
            f"wrote; choose {config.averaged_run}"
        )


def _output(source: Path, name: str | None) -> Path:
    """Returns the folder to create; raises `UserError` if it exists or is part of the run."""
    if not name:
        raise UserError("--output is missing: expected the run folder to create")
    output = Path(name)
    if os.path.lexists(output):
        raise UserError(
            f"--output={output} exists: expected a new folder; choose another name or remove it"
        )
    if output.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"--output={output} is inside the run that is averaged: expected a folder outside of "
            "it; choose another"
        )
    check_outside_runs("--output", output)
    return output
