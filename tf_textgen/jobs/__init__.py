"""One absl-flag-driven program each: `python -m tf_textgen JOB --flags`.

A job is a module with `HELP` (one line), `define_flags(flag_values)` and `run(flag_values)`. It
imports TensorFlow inside `run` alone, so that `--helpshort` and a mistyped flag answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType

from absl import flags

from tf_textgen.config import did_you_mean
from tf_textgen.errors import UserError

JOBS = {
    "build_vocab": "tf_textgen.jobs.build_vocab",
    "train": "tf_textgen.jobs.train",
    "launch": "tf_textgen.jobs.launch",
    "evaluate": "tf_textgen.jobs.evaluate",
    "score": "tf_textgen.jobs.score",
    "generate": "tf_textgen.jobs.generate",
    "average": "tf_textgen.jobs.average",
    "export": "tf_textgen.jobs.export",
    "serve": "tf_textgen.jobs.serve",
    "describe": "tf_textgen.jobs.describe",
}
INTERNAL_ERROR_EXIT_CODE = 1
BAD_INPUT_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130
_ADVICE = {
    errno.ENOSPC: "expected room on the disk; make room and give the same command again",
    errno.EDQUOT: "expected room on the disk; make room and give the same command again",
    errno.EACCES: "expected what may be read and written; change its rights or name another",
    errno.EPERM: "expected what may be read and written; change its rights or name another",
    errno.EROFS: "expected what may be written; name another",
}
_ABSL_REPEAT = re.compile(r";\s+repeat this option to specify a list of values")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one job.

    Returns:
      The exit code: 0 done, 1 a bug, 2 bad input (one line on standard error each), 130
      interrupted; `train` documents its own.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # what fails raises an exception all the same
    debug = "--debug" in arguments
    try:
        _check_utf8(arguments)
        code = _run_job(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (`head`, say) has had enough; the interpreter's own flush at exit must not
        # complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        bad_input = isinstance(error, (UserError, flags.Error, OSError)) or _allocation(error)
        print(f"error: {' '.join(_message(error).split())}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE if bad_input else INTERNAL_ERROR_EXIT_CODE
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        advice = _ADVICE.get(
            error.errno or 0, "expected a file or folder that can be used; name another"
        )
        return f"{error.filename or 'a file'}: {error.strerror}; {advice}"
    if isinstance(error, (UserError, flags.Error, OSError)):
        return str(error).removeprefix("ERROR:: ")
    if failed := _allocation(error):
        return f"out of memory ({failed}); expected a model, a batch and a context that fit: describe shows their needs"
    return f"unexpected {type(error).__name__}: {str(error)[:300]}; give --debug as well to see where, and report it"


def _allocation(error: Exception) -> str:
    """What could not be allocated, "" if that is not the error."""
    if isinstance(error, MemoryError):
        return str(error) or "MemoryError"
    # By its name: not every job has loaded TensorFlow, whose error of this class may also tell of a
    # full disk.
    found = re.search(
        r"(OOM when|[Oo]ut of memory).{,200}?(?= on /job:|$)", str(error), re.MULTILINE
    )
    return found[0] if found and type(error).__name__ == "ResourceExhaustedError" else ""


def _check_utf8(arguments: Sequence[str]) -> None:
    """Bytes that are not UTF-8 come from the shell as lone surrogates, which no file or tensor
    takes.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise UserError(
                f"{shown}: character {error.start + 1} is not valid UTF-8; expected UTF-8 text"
            ) from error


def _run_job(arguments: list[str]) -> int | None:
    if not arguments or arguments[0] in ("--help", "-h", "--helpshort", "help"):
        print(_overview())
        return 0
    job, flag_values, command = parse(arguments)
    if flag_values["help"].value or flag_values["helpshort"].value:
        print(_job_help(arguments[0], job, flag_values))
        return 0
    return job.run(flag_values) if command is None else job.run(flag_values, command)


def parse(arguments: Sequence[str]) -> tuple[ModuleType, flags.FlagValues, list[str] | None]:
    """The job that the first argument names, its flags, and what stands behind `--`.

    The last is None unless the job says `TAKES_COMMAND`.

    Raises:
      UserError, flags.Error: if the job or a flag is unknown, or a value is of the wrong type.
    """
    name, *rest = arguments
    if name not in JOBS:
        raise UserError(
            f"unknown job {name!r}: expected one of {', '.join(JOBS)}{did_you_mean(name, JOBS)}"
        )
    job = importlib.import_module(JOBS[name])
    flag_values = flags.FlagValues()
    command = None
    if getattr(job, "TAKES_COMMAND", False):
        end = rest.index("--") if "--" in rest else len(rest)
        rest, command = rest[:end], rest[end + 1 :]
        flag_values.set_gnu_getopt(
            False
        )  # behind an argument stand flags of the command, whose -- was forgotten
    flags.DEFINE_boolean(
        "debug", False, "Show the stack trace of an error.", flag_values=flag_values
    )
    for help_flag in ("help", "helpshort"):
        flags.DEFINE_boolean(
            help_flag, False, "Show the flags of this job.", flag_values=flag_values
        )
    job.define_flags(flag_values)
    _check_flagfile_comes_first(rest)
    try:
        positional = flag_values([name, *rest])[1:]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{rest[0]} is not UTF-8 ({error.reason}): expected a text file with one flag a line"
        ) from error
    for flag_name in flag_values:
        if isinstance(value := flag_values[flag_name].value, str) and "\0" in value:
            raise UserError(
                f"--{flag_name}={value.replace(chr(0), '<NUL>')}: expected text without the "
                "character NUL"
            )
    if positional:
        takes = (
            "flags only, as --name=value"
            if command is None
            else "flags, then --, then another job and its flags"
        )
        raise UserError(f"unexpected argument {positional[0]!r}: {name} takes {takes}")
    return job, flag_values, command


def _check_flagfile_comes_first(arguments: Sequence[str]) -> None:
    """The later flag wins in absl, so a recipe after an override would silently undo it."""
    at = [
        i
        for i, argument in enumerate(arguments)
        if argument.lstrip("-").split("=")[0] == "flagfile"
    ]
    if at and at[0] > 0:
        raise UserError(
            f"{arguments[at[0]]} stands after {arguments[0]}: expected --flagfile as the first "
            "flag, since a later value replaces an earlier one; move it to the front"
        )


def _overview() -> str:
    lines = ["usage: python -m tf_textgen JOB [--flagfile=RECIPE] [--flag=value ...]", "", "jobs:"]
    lines += [f"  {name:<12} {importlib.import_module(path).HELP}" for name, path in JOBS.items()]
    return "\n".join([*lines, "", "python -m tf_textgen JOB --helpshort shows the flags of a job."])


def _job_help(name: str, job: ModuleType, flag_values: flags.FlagValues) -> str:
    """All flags, grouped by their prefix, each with its default."""
    groups: dict[str, list[str]] = {}
    for flag_name in flag_values:
        if flag_name in ("help", "helpshort"):
            continue
        prefix = flag_name.rpartition(".")[0] or name
        groups.setdefault(prefix, []).append(flag_name)
    lines = [
        f"python -m tf_textgen {name}: {job.HELP}",
        "",
        "A recipe is a file of flags: --flagfile=RECIPE, given first.",
    ]
    for prefix in sorted(groups, key=lambda group: (group != name, group)):
        lines += ["", f"{prefix}:"]
        for flag_name in groups[prefix]:
            flag = flag_values[flag_name]
            default = "" if flag.default in (None, []) else f" (default: {flag.default})"
            lines.append(f"  --[no]{flag_name}" if flag.boolean else f"  --{flag_name}")
            text = _ABSL_REPEAT.sub(" May be repeated.", flag.help)
            lines += textwrap.wrap(
                text + default, 108, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
    return "\n".join(lines)
