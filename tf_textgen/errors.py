"""The one exception for input that a person can correct."""


class UserError(ValueError):
    """Bad input: the message says what came, what was expected and what to do, in one line.

    Jobs print it without a stack trace and exit with code 2 (`--debug` shows the trace).
    """
