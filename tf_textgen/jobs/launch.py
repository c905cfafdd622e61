"""Starts the workers of one training on this machine and ends them together.

    tf-textgen launch --num_workers=2 -- train --flagfile=RECIPE --run.dir=RUN

Exit codes: 0 all workers are done; 2 bad input; 130 (SIGINT) or 143 (SIGTERM) all have saved and
stopped; otherwise that of the worker that failed first, or 128 + the signal that ended it. It is 3,
a worker was lost, only if no worker failed in another way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absl import flags

from tf_textgen import config
from tf_textgen.config import did_you_mean
from tf_textgen.distribution.launcher import Launcher, LauncherConfig
from tf_textgen.errors import UserError, job_command
from tf_textgen.jobs.command_line import parse

HELP = "Start the workers of one training on this machine: launch --num_workers=2 -- train --flags."
TAKES_COMMAND = True
# The other jobs are one process each: several would do the same work several times.
_LAUNCHED = "train"


def define_flags(flag_values: flags.FlagValues) -> None:
    config.define_flags(LauncherConfig, flag_values)


def run(flag_values: flags.FlagValues, command: Sequence[str]) -> int:
    """Returns the exit code."""
    launcher_config = config.from_flags(LauncherConfig, flag_values)
    _check_command(command)
    if os.environ.get("TF_CONFIG"):
        raise UserError(
            "TF_CONFIG is set: launch sets it for the workers of one machine; unset it, or start "
            f"the worker of each machine without launch: {job_command(command[0])}"
        )
    program = [sys.executable, "-m", "tf_textgen", *command]
    launcher = Launcher(program, launcher_config)
    sys.stdout.flush()
    sys.stderr.flush()
    return launcher.run()


def _check_command(command: Sequence[str]) -> None:
    """Reports once, before any worker starts, errors that every worker would report."""
    if not command:
        raise UserError(f"no job to launch: expected {_LAUNCHED} with its flags after --")
    job = command[0]
    if job != _LAUNCHED:
        hint = did_you_mean(job, [_LAUNCHED])
        raise UserError(f"cannot launch {job!r}: expected {_LAUNCHED}{hint}")
    if parse(command).asks_for_help:
        raise UserError(f"cannot launch a help text: {job_command(job)} --helpshort shows it")
