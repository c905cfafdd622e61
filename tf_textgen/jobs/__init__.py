"""The programs of the package: `tf-textgen JOB --flags` or `python -m tf_textgen JOB --flags`.

A job is a module with `HELP` (one line), `define_flags(flag_values)` and `run(flag_values)`, which
returns an exit code or None. It imports the modules that need TensorFlow inside `run`, so that
`--helpshort` and a mistyped flag are answered at once.
"""

from tf_textgen.jobs.command_line import JOBS, main

__all__ = ["JOBS", "main"]
