"""Fields of configurations: how one is declared, and the check of its value.

Uses only the standard library, because clients read the table of decoding parameters.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_textgen.errors import UserError

required: Any = dataclasses.MISSING
"""Default of a field that has none: the value has to be given."""
_ESCAPES_HELP = r"Reads \n, \t, \r, \\, \xHH and \uHHHH as the characters that they represent."
_BOUNDS = {
    "at_least": ("at least", operator.ge),
    "at_most": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
}


def field(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    flag: bool = True,
    escapes: bool = False,
    path: bool = False,
    may_change: bool = False,
    per_worker: bool = False,
) -> Any:
    """Declares one field of a `Config`.

    Args:
      default: value if none is given; `config.required` if one must be given.
      help: one sentence with the unit and the reason of the default; becomes the flag's help.
      choices: the allowed values.
      at_least, at_most, above, below: inclusive and exclusive bounds of a number; NaN is out of
        bounds.
      flag: False for a value that follows from the data, such as a vocabulary's size, and has no
        flag.
      escapes: whether the flag reads backslash escapes (see `unescape`), because a flagfile has one
        line a flag.
      path: whether the value names files or a folder; the flag then expands `~`.
      may_change: whether the value may differ when a run is resumed.
      per_worker: whether the value may differ between the workers of a training.
    """
    bounds = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
    metadata = {
        "help": f"{help} {_ESCAPES_HELP}" if escapes else help,
        "choices": choices,
        "bounds": {kind: bound for kind, bound in bounds.items() if bound is not None},
        "flag": flag,
        "escapes": escapes,
        "path": path,
        "may_change": may_change,
        "per_worker": per_worker,
    }
    return dataclasses.field(default=default, metadata=metadata)


def check_value(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    """Raises `UserError` if `value` is not one of the choices, or out of the bounds, of `field`."""
    if value is None:
        return
    choices = metadata.get("choices")
    if choices and value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        hint = did_you_mean(str(value), choices)
        raise UserError(f"--{name}={value}: expected one of {listed}{hint}")
    bounds = metadata.get("bounds", {})
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if all(is_finite and _BOUNDS[kind][1](value, bound) for kind, bound in bounds.items()):
        return
    expected = "value" if is_finite else "finite value"
    words = [f"{_BOUNDS[kind][0]} {_number(bound)}" for kind, bound in bounds.items()]
    raise UserError(f"--{name}={_number(value)}: expected a {expected} {' and '.join(words)}")


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def did_you_mean(word: str, known: Iterable[Any]) -> str:
    """Returns `"; did you mean 'x'?"`, or an empty string if no known word is similar."""
    near = difflib.get_close_matches(word, [str(name) for name in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
