"""Starts the workers of one training on this machine, and ends them together.

    python -m tf_textgen launch --num_workers=2 -- train --flagfile=RECIPE --run.dir=RUN

Exit codes: 0 all workers are done; 2 bad input; 130 (SIGINT) or 143 (SIGTERM) all saved and
stopped; else that of the worker which failed first, or 128 + the number of the signal that ended
it. 3, a worker was lost, only where no worker failed otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absl import flags

from tf_textgen import config
from tf_textgen.config import did_you_mean
from tf_textgen.distribution.launcher import Launcher, LauncherConfig
from tf_textgen.errors import UserError
from tf_textgen.jobs import parse

HELP = "Start the workers of one training on this machine: launch --num_workers=2 -- train --flags."
TAKES_COMMAND = True
_LAUNCHED = "train"  # the other jobs take one process, so several would do the same several times


def define_flags(flag_values: flags.FlagValues) -> None:
    config.define_flags(LauncherConfig, flag_values)


def run(flag_values: flags.FlagValues, command: Sequence[str]) -> int:
    """Returns the exit code."""
    launcher_config = config.from_flags(LauncherConfig, flag_values)
    _check_command(command)
    if os.environ.get("TF_CONFIG"):
        raise UserError(
            "TF_CONFIG is set: launch sets it for the workers of one machine; unset it, or start "
            f"the worker of each machine without launch: python -m tf_textgen {command[0]}"
        )
    program = [sys.executable, "-m", "tf_textgen", *command]
    launcher = Launcher(program, launcher_config)
    sys.stdout.flush()
    sys.stderr.flush()
    return launcher.run()


def _check_command(command: Sequence[str]) -> None:
    """What every worker would find wrong is reported once, before any starts."""
    expected = f"expected {_LAUNCHED}"
    if not command:
        raise UserError(f"no job to launch came: {expected} with its flags, after --")
    if command[0] != _LAUNCHED:
        raise UserError(
            f"cannot launch {command[0]!r}: {expected}{did_you_mean(command[0], [_LAUNCHED])}"
        )
    _, launched, _ = parse(command)
    if launched["help"].value or launched["helpshort"].value:
        raise UserError(
            f"cannot launch a help text: python -m tf_textgen {command[0]} --helpshort shows it"
        )
