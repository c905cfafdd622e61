"""The exception for input that a person can correct, and the command line that messages name."""

from __future__ import annotations

import pathlib
import sys

_CONSOLE_SCRIPT = "tf-textgen"


class UserError(ValueError):
    """Bad input: the message says what came, what was expected and what to do, in one line.

    Jobs print it without a stack trace and exit with code 2 (`--debug` shows the trace).
    """


def job_command(job: str) -> str:
    """Returns `tf-textgen JOB` or `python -m tf_textgen JOB`, as this process was started."""
    started_as = pathlib.Path(sys.argv[0]).stem
    program = _CONSOLE_SCRIPT if started_as == _CONSOLE_SCRIPT else "python -m tf_textgen"
    return f"{program} {job}"
