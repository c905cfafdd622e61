"""Configurations: frozen dataclasses that become absl flags and JSON. Does not import TensorFlow.

A configuration is declared once, next to what it configures:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class OptimizerConfig(Config):
        prefix: ClassVar[str] = "optimizer"
        learning_rate: float = field(1e-3, "Peak learning rate.", above=0.0)

and `define_flags(OptimizerConfig, flag_values)` makes `--optimizer.learning_rate` of it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from absl import flags

from tf_textgen.errors import UserError

ConfigT = TypeVar("ConfigT", bound="Config")
_REQUIRED = dataclasses.MISSING
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
_ESCAPES_HELP = r"Reads \n, \t, \r, \\, \xHH and \uHHHH as the characters they stand for."
_ESCAPE = re.compile(r"\\(?:(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|(.?))", re.DOTALL)


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
) -> Any:
    """Declares one field of a `Config`.

    Args:
      default: value when nothing is said; `config.required` if there is none.
      help: one sentence with the unit and the reason of the default; becomes the flag's help.
      choices: the values allowed.
      at_least, at_most, above, below: inclusive and exclusive bounds of a number (NaN breaks all of
        them).
      flag: False for values that follow from the data (a vocabulary's size) and have no flag.
      escapes: whether the flag's text reads backslash escapes (see `unescape`), since a flagfile
        holds a flag a line.
    """
    bounds = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
    help = f"{help} {_ESCAPES_HELP}" if escapes else help
    metadata: dict[str, Any] = {"help": help, "choices": choices, "flag": flag, "escapes": escapes}
    metadata["bounds"] = {name: bound for name, bound in bounds.items() if bound is not None}
    return dataclasses.field(default=default, metadata=metadata)


required: Any = _REQUIRED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configurations: checked when made, immutable after."""

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, str) and str(entry.type).startswith(
                "tuple"
            ):  # of which each letter would be one
                name = flag_name(type(self), entry.name)
                raise UserError(
                    f"{name}={value!r}: a string came; expected a tuple of them, ({value!r},)"
                )
            check_value(
                flag_name(type(self), entry.name), getattr(self, entry.name), entry.metadata
            )

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that `json.dump` takes."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in dataclasses.fields(self)}

    @classmethod
    def from_json(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """The inverse of `to_json`; unknown names raise `UserError` with the nearest known one."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        if not isinstance(values, Mapping):
            raise UserError(
                f"a configuration of {cls.prefix!r} is damaged: a {type(values).__name__} came, "
                "expected an object as it was written"
            )
        for name in values:
            if name not in known:
                raise UserError(
                    f"unknown field {flag_name(cls, name)!r} in a "
                    f"configuration{did_you_mean(name, known)}"
                )
        try:
            return cls(
                **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
            )
        except TypeError as error:
            raise UserError(
                f"a configuration of {cls.prefix!r} is damaged ({error}): expected what was written"
            ) from error


def check_value(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    """Raises `UserError` if `value` breaks the choices or bounds declared by `field`."""
    choices = metadata.get("choices")
    if value is None:
        return
    if choices and value not in choices:
        listed = ", ".join(map(str, choices))
        raise UserError(
            f"--{name}={value}: expected one of {listed}{did_you_mean(str(value), choices)}"
        )
    words = {"at_least": "at least", "at_most": "at most", "above": "above", "below": "below"}
    for kind, bound in metadata.get("bounds", {}).items():
        ok = {
            "at_least": value >= bound,
            "at_most": value <= bound,
            "above": value > bound,
            "below": value < bound,
        }
        infinite = isinstance(value, float) and not math.isfinite(value)
        if infinite or not ok[kind]:
            expected = " and ".join(
                f"{words[k]} {_number(v)}" for k, v in metadata["bounds"].items()
            )
            raise UserError(
                f"--{name}={_number(value)}: expected a {'finite ' if infinite else ''}value "
                f"{expected}"
            )


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def did_you_mean(word: str, known: Any) -> str:
    """`"; did you mean 'x'?"`, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def flag_name(config_class: type[Config], name: str) -> str:
    return f"{config_class.prefix}.{name}" if config_class.prefix else name


def define_flags(config_class: type[Config], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each field, named `prefix.field`."""
    hints = typing.get_type_hints(config_class)
    default: Any
    for entry in dataclasses.fields(config_class):
        if not entry.metadata.get("flag", True):
            continue
        name = flag_name(config_class, entry.name)
        default = entry.default
        text = entry.metadata["help"]
        kind = _flag_type(hints[entry.name])
        if kind is bool:
            flags.DEFINE_boolean(name, default, text, flag_values=flag_values)
        elif kind is tuple:
            flags.DEFINE_multi_string(name, list(default), text, flag_values=flag_values)
        elif entry.metadata["choices"]:
            text = f"{text} One of {', '.join(map(str, entry.metadata['choices']))}."
            flags.DEFINE_string(name, default, text, flag_values=flag_values)
        else:
            makers: dict[type, Any]
            makers = {
                int: flags.DEFINE_integer,
                float: flags.DEFINE_float,
                str: flags.DEFINE_string,
            }
            makers[kind](name, default, text, flag_values=flag_values)


def from_flags(
    config_class: type[ConfigT], flag_values: flags.FlagValues = flags.FLAGS, **others: Any
) -> ConfigT:
    """Reads what `define_flags` defined; `others` gives the fields that have no flag."""
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(config_class):
        if entry.metadata.get("flag", True):
            values[entry.name] = _flag_value(
                flag_values, flag_name(config_class, entry.name), entry
            )
    return config_class(**values, **others)


def override(config: ConfigT, flag_values: flags.FlagValues = flags.FLAGS) -> ConfigT:
    """`config` with the fields that stand on the command line: how a job changes what a run
    recorded.
    """
    given = {}
    for entry in dataclasses.fields(config):
        name = flag_name(type(config), entry.name)
        if name in flag_values and flag_values[name].present:
            given[entry.name] = _flag_value(flag_values, name, entry)
    return dataclasses.replace(config, **given)


def to_flags(config: Config) -> list[str]:
    """The lines of a flagfile that set every field which differs from its default.

    Raises:
      UserError: if a line of a flagfile cannot hold the value.
    """
    lines = []
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if not entry.metadata.get("flag", True) or value == entry.default:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            text = json.dumps(one) if isinstance(one, bool) else str(one)
            name = flag_name(type(config), entry.name)
            lines.append(flag_line(name, escape(text) if entry.metadata.get("escapes") else text))
    return lines


def flag_line(name: str, value: str) -> str:
    """One line of a flagfile, which loses line ends and the spaces around a line; raises
    `UserError` rather.
    """
    line = f"--{name}={value}"
    if line != line.strip() or "\n" in line or "\r" in line:
        raise UserError(
            f"--{name}={value!r}: expected no line end and no space at its end, which recipe.flags "
            "could not hold; choose another"
        )
    return line


def escape(text: str) -> str:
    """`text` so that `unescape` gives it back and a line of a flagfile can hold it."""
    end = len(text.rstrip())
    return "".join(
        _ESCAPES.get(c, f"\\u{ord(c):04x}")
        if c == "\\" or i >= end or not (c.isprintable() or c > "\uffff")
        else c
        for i, c in enumerate(text)
    )


def unescape(came: str, text: str) -> str:
    r"""The text that a flag's value stands for: `\n`, `\t`, `\r`, `\\`, `\xHH` and `\uHHHH` are one
    character each.

    Args:
      came: what an error says came: the flag with its value, or a place in a file.
      text: the value.

    Raises:
      UserError: if a backslash begins anything else.
    """
    plain = {written[1]: character for character, written in _ESCAPES.items()}

    def one(found: re.Match[str]) -> str:
        code, letter = found.groups()
        character = chr(int(code[1:], 16)) if code else plain.get(letter)
        if character is None or "\ud800" <= character <= "\udfff":
            raise UserError(
                f"{came}: a backslash stands before {code or letter or 'nothing'!r}; expected n, "
                "t, r, xHH, uHHHH of a character, or a second backslash"
            )
        return character

    return _ESCAPE.sub(one, text)


def _flag_value(flag_values: flags.FlagValues, name: str, entry: dataclasses.Field[Any]) -> Any:
    value: Any = flag_values[name].value
    if entry.metadata.get("escapes"):
        texts = [
            unescape(f"--{name}={one}", one)
            for one in (value if isinstance(value, list) else [value])
        ]
        value = texts if isinstance(value, list) else texts[0]
    return tuple(value) if isinstance(value, list) else value


def _flag_type(hint: Any) -> type:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        origin = typing.get_origin(hint)
    return tuple if origin is tuple else hint


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
