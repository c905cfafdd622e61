"""The command line: finds the job, parses its flags, prints help and turns errors into exit codes.

Does not import TensorFlow.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from absl import flags

from tf_textgen.config import did_you_mean
from tf_textgen.errors import UserError, job_command
from tf_textgen.jobs.console import use_utf8
from tf_textgen.jobs.flagfile import with_flagfile

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
_HELP_FLAGS = ("help", "helpshort")
_NO_SPACE = "free some space and run the same command again"
_NO_PERMISSION = "choose another file or folder, or change its permissions"
_ADVICE = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "choose a file or folder on another disk",
}
_ABSL_REPEAT = re.compile(r";\s+repeat this option to specify a list of values")
_OUT_OF_MEMORY = re.compile(
    r"(OOM when|[Oo]ut of memory).{,200}?(?= on /job:|$)", flags=re.MULTILINE
)


class CommandLine(NamedTuple):
    """A parsed command line.

    Attributes:
      job: the module of the job.
      flag_values: its flags.
      command: the arguments after `--`; None unless the job sets `TAKES_COMMAND`.
    """

    job: ModuleType
    flag_values: flags.FlagValues
    command: list[str] | None

    @property
    def asks_for_help(self) -> bool:
        return any(self.flag_values[name].value for name in _HELP_FLAGS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one job.

    Returns:
      The exit code: 0 done, 1 a bug, 2 bad input, 130 interrupted. A bug and bad input are reported
      by one line on standard error. `train` and `launch` document further codes.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # TensorFlow's C++ code logs nothing: its failures are raised as exceptions all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    use_utf8()
    debug = "--debug" in arguments
    try:
        _check_utf8(arguments)
        exit_code = _run(arguments)
        sys.stdout.flush()
        return exit_code
    except BrokenPipeError:
        # A reader such as `head` has closed the pipe. The interpreter flushes once more at exit,
        # which must not fail again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        message = " ".join(_message(error).split())
        print(f"error: {message}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE if _is_bad_input(error) else INTERNAL_ERROR_EXIT_CODE
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parses the name of a job and its flags.

    Raises:
      UserError, flags.Error: if the job or a flag is unknown, or a value has the wrong type.
    """
    name = arguments[0]
    if name not in JOBS:
        known = ", ".join(JOBS)
        raise UserError(f"unknown job {name!r}: expected one of {known}{did_you_mean(name, JOBS)}")
    job = importlib.import_module(JOBS[name])
    flag_values = _defined_flags(job)
    flag_arguments = list(arguments[1:])
    command = None
    if getattr(job, "TAKES_COMMAND", False):
        flag_arguments, command = _split_at_dashes(flag_arguments)
        # Flags after an argument belong to a command whose `--` was forgotten.
        flag_values.set_gnu_getopt(False)
    _check_flagfile_comes_first(flag_arguments)
    positional = flag_values([name, *with_flagfile(flag_arguments)])[1:]
    if positional:
        takes = "flags only, as --name=value"
        if command is not None:
            takes = "flags, then --, then another job and its flags"
        raise UserError(f"unexpected argument {positional[0]!r}: {name} takes {takes}")
    _check_no_nul(flag_values)
    return CommandLine(job, flag_values, command)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "--helpshort", "help"):
        print(_overview())
        return 0
    parsed = parse(arguments)
    if parsed.asks_for_help:
        print(_job_help(arguments[0], parsed))
        return 0
    if parsed.command is None:
        exit_code = parsed.job.run(parsed.flag_values)
    else:
        exit_code = parsed.job.run(parsed.flag_values, parsed.command)
    return exit_code or 0


def _defined_flags(job: ModuleType) -> flags.FlagValues:
    flag_values = flags.FlagValues()
    flags.DEFINE_boolean(
        "debug", False, "Show the stack trace of an error.", flag_values=flag_values
    )
    for name in _HELP_FLAGS:
        flags.DEFINE_boolean(name, False, "Show the flags of this job.", flag_values=flag_values)
    job.define_flags(flag_values)
    return flag_values


def _split_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    dashes = arguments.index("--")
    return arguments[:dashes], arguments[dashes + 1 :]


def _check_utf8(arguments: Sequence[str]) -> None:
    """Rejects lone surrogates, Python's form of bytes that are not UTF-8; no tensor takes them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise UserError(
                f"{shown}: character {error.start + 1} is not valid UTF-8; expected UTF-8 text"
            ) from error


def _check_flagfile_comes_first(arguments: Sequence[str]) -> None:
    """A later flag wins in absl, so a recipe after an override would silently undo it."""
    for argument in arguments[1:]:
        if argument.lstrip("-").split("=")[0] == "flagfile":
            raise UserError(
                f"{argument} comes after {arguments[0]}: expected --flagfile as the first flag, "
                "because a later value replaces an earlier one; move it to the front"
            )


def _check_no_nul(flag_values: flags.FlagValues) -> None:
    for name in flag_values:
        value = flag_values[name].value
        if isinstance(value, str) and "\0" in value:
            shown = value.replace("\0", "<NUL>")
            raise UserError(f"--{name}={shown}: expected text without the character NUL")


def _is_bad_input(error: Exception) -> bool:
    expected = (UserError, flags.Error, OSError)
    return isinstance(error, expected) or _is_bad_name(error) or bool(_failed_allocation(error))


def _is_bad_name(error: Exception) -> bool:
    """Returns whether the locale has no form of the name of a file."""
    encoding = codecs.lookup(sys.getfilesystemencoding()).name
    if encoding == "utf-8" or not isinstance(error, UnicodeEncodeError):
        return False
    return codecs.lookup(error.encoding).name == encoding


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[0].lower() + error.strerror[1:]
        advice = _ADVICE.get(error.errno or 0, "choose another file or folder")
        return f"cannot use {error.filename or 'a file'}: {reason}; {advice}"
    if isinstance(error, (UserError, flags.Error, OSError)):
        return str(error).removeprefix("ERROR:: ")
    if _is_bad_name(error):
        return (
            f"the encoding of the locale cannot represent the name of a file ({error}); choose a "
            "locale of UTF-8, for example LC_ALL=C.UTF-8"
        )
    if failed := _failed_allocation(error):
        return (
            f"out of memory ({failed}); expected a model, a batch and a context that fit: "
            f"{job_command('describe')} shows how much they need"
        )
    return (
        f"unexpected {type(error).__name__}: {str(error)[:300]}; run it again with --debug to see "
        "the stack trace, and report it"
    )


def _failed_allocation(error: Exception) -> str:
    """Returns the allocation that failed, or an empty string for any other error."""
    if isinstance(error, MemoryError):
        return str(error) or "MemoryError"
    # TensorFlow's error is known by its name, because not every job imports TensorFlow. The same
    # class also reports a full disk.
    if type(error).__name__ != "ResourceExhaustedError":
        return ""
    found = _OUT_OF_MEMORY.search(str(error))
    return found[0] if found else ""


def _overview() -> str:
    lines = [f"usage: {job_command('JOB')} [--flagfile=RECIPE] [--flag=value ...]", "", "jobs:"]
    for name, path in JOBS.items():
        lines.append(f"  {name:<12} {importlib.import_module(path).HELP}")
    lines += ["", f"{job_command('JOB')} --helpshort shows the flags of a job."]
    return "\n".join(lines)


def _job_help(name: str, parsed: CommandLine) -> str:
    """Returns all flags with their defaults, grouped by their prefix; the job's own come first."""
    groups: dict[str, list[str]] = {}
    for flag_name in parsed.flag_values:
        if flag_name not in _HELP_FLAGS:
            prefix = flag_name.rpartition(".")[0] or name
            groups.setdefault(prefix, []).append(flag_name)
    lines = [
        f"{job_command(name)}: {parsed.job.HELP}",
        "",
        "A recipe is a file of flags: --flagfile=RECIPE as the first flag.",
    ]
    for prefix in sorted(groups, key=lambda group: (group != name, group)):
        lines += ["", f"{prefix}:"]
        for flag_name in groups[prefix]:
            lines += _flag_help(parsed.flag_values[flag_name])
    return "\n".join(lines)


def _flag_help(flag: flags.Flag) -> list[str]:
    text = _ABSL_REPEAT.sub(" May be repeated.", flag.help)
    if flag.default not in (None, [], ""):
        default = ", ".join(flag.default) if isinstance(flag.default, list) else flag.default
        text += f" (default: {default})"
    heading = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    indent = " " * 6
    return [
        heading,
        *textwrap.wrap(text, 108, initial_indent=indent, subsequent_indent=indent),
    ]
