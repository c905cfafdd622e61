"""Configurations: frozen dataclasses that become absl flags and JSON. Does not import TensorFlow.

A configuration is declared once, next to the code that it configures:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class OptimizerConfig(Config):
        prefix: ClassVar[str] = "optimizer"
        learning_rate: float = field(1e-3, "Peak learning rate.", above=0.0)

`define_flags(OptimizerConfig, flag_values)` then defines `--optimizer.learning_rate`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from absl import flags

from tf_textgen.errors import UserError
from tf_textgen.fields import check_value, did_you_mean, field, required

__all__ = [
    "Config",
    "define_flags",
    "did_you_mean",
    "escape",
    "field",
    "flag_line",
    "flag_name",
    "from_flags",
    "override",
    "required",
    "to_flags",
    "unescape",
]
ConfigT = TypeVar("ConfigT", bound="Config")
_DEFINE = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    tuple: flags.DEFINE_multi_string,
}
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
_ESCAPE = re.compile(r"\\(?:(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|(.?))", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configurations: checked when it is made, immutable afterwards."""

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            name = flag_name(type(self), entry.name)
            value = getattr(self, entry.name)
            # A string is a sequence too: each of its letters would be one value.
            if isinstance(value, str) and str(entry.type).startswith("tuple"):
                raise UserError(
                    f"{name}={value!r}: this is a string; expected a tuple of them, ({value!r},)"
                )
            check_value(name, value, entry.metadata)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dict for `json.dump`."""
        values = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            values[entry.name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def from_json(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """The inverse of `to_json`.

        Raises:
          UserError: if a field is unknown, missing or has a value of another type.
        """
        damaged = f"a configuration of {cls.prefix!r} is damaged"
        if not isinstance(values, Mapping):
            raise UserError(f"{damaged}: expected an object, not a {type(values).__name__}")
        known = [entry.name for entry in dataclasses.fields(cls)]
        arguments = {}
        for name, value in values.items():
            if name not in known:
                shown = flag_name(cls, name)
                raise UserError(
                    f"unknown field {shown!r} in a configuration{did_you_mean(name, known)}"
                )
            arguments[name] = tuple(value) if isinstance(value, list) else value
        try:
            return cls(**arguments)
        except TypeError as error:
            raise UserError(
                f"{damaged} ({error}): expected the file as it was written; restore it"
            ) from error


def flag_name(config_class: type[Config], name: str) -> str:
    """Returns `prefix.name`, or `name` if the class has no prefix."""
    return f"{config_class.prefix}.{name}" if config_class.prefix else name


def define_flags(config_class: type[Config], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each field, named `prefix.field`."""
    hints = typing.get_type_hints(config_class)
    for entry in dataclasses.fields(config_class):
        if not entry.metadata.get("flag", True):
            continue
        text = entry.metadata["help"]
        choices = entry.metadata["choices"]
        default: Any = entry.default
        name = flag_name(config_class, entry.name)
        value_type = _value_type(hints[entry.name])
        if value_type is tuple:
            default = list(default)
        elif choices:
            listed = ", ".join(str(choice) for choice in choices)
            text = f"{text} One of {listed}."
        if entry.metadata.get("path"):
            define_path_flag(name, default, text, flag_values)
        else:
            define: Any = _DEFINE[value_type]
            define(name, default, text, flag_values=flag_values)


class _PathParser(flags.ArgumentParser[str]):
    """Expands `~` and `~user` at the start of a path: a shell leaves `--flag=~/file` as it is."""

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "path"


def define_path_flag(
    name: str,
    default: str | list[str] | None,
    help: str,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Defines a flag that names a file, a folder or a glob; `~` is the home folder.

    Args:
      name: of the flag.
      default: value if none is given; the flag may be repeated if it is a list.
      help: the flag's help.
      flag_values: receives the flag.
    """
    serializer: flags.ArgumentSerializer[str] = flags.ArgumentSerializer()
    define: Any = flags.DEFINE_multi if isinstance(default, list) else flags.DEFINE
    define(
        parser=_PathParser(),
        serializer=serializer,
        name=name,
        default=default,
        help=help,
        flag_values=flag_values,
    )


def from_flags(
    config_class: type[ConfigT], flag_values: flags.FlagValues = flags.FLAGS, **others: Any
) -> ConfigT:
    """Makes the configuration of flags that `define_flags` defined.

    Args:
      config_class: the class.
      flag_values: the parsed flags.
      **others: values of the fields that have no flag.
    """
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(config_class):
        if entry.metadata.get("flag", True):
            name = flag_name(config_class, entry.name)
            values[entry.name] = _flag_value(flag_values, name, entry)
    return config_class(**values, **others)


def override(config: ConfigT, flag_values: flags.FlagValues = flags.FLAGS) -> ConfigT:
    """Returns a copy of `config` with the values given on the command line."""
    given = {}
    for entry in dataclasses.fields(config):
        name = flag_name(type(config), entry.name)
        if name in flag_values and flag_values[name].present:
            given[entry.name] = _flag_value(flag_values, name, entry)
    return dataclasses.replace(config, **given)


def to_flags(config: Config) -> list[str]:
    """Returns the lines of a flagfile that set every field that differs from its default.

    Raises:
      UserError: if a line of a flagfile cannot hold the value.
    """
    lines = []
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if not entry.metadata.get("flag", True) or value == entry.default:
            continue
        name = flag_name(type(config), entry.name)
        for item in value if isinstance(value, tuple) else (value,):
            text = json.dumps(item) if isinstance(item, bool) else str(item)
            if entry.metadata.get("escapes"):
                text = escape(text)
            lines.append(flag_line(name, text))
    return lines


def flag_line(name: str, value: str) -> str:
    """Returns one line of a flagfile.

    Raises:
      UserError: if the line would be read differently: absl splits at line ends and strips spaces.
    """
    line = f"--{name}={value}"
    if line != line.strip() or "\n" in line or "\r" in line:
        raise UserError(
            f"--{name}={value!r}: expected no line end and no space at its end, which recipe.flags "
            "cannot hold; choose another value"
        )
    return line


def escape(text: str) -> str:
    """Returns `text` in a form that a line of a flagfile can hold; `unescape` is the inverse."""
    end = len(text.rstrip())
    escaped = []
    for index, character in enumerate(text):
        # `isprintable` is False for some of the later planes, which a flagfile can hold.
        is_plain = character.isprintable() or character > "\uffff"
        if character != "\\" and index < end and is_plain:
            escaped.append(character)
        else:
            escaped.append(_ESCAPES.get(character, f"\\u{ord(character):04x}"))
    return "".join(escaped)


def unescape(shown: str, text: str) -> str:
    r"""Returns `text` with `\n`, `\t`, `\r`, `\\`, `\xHH` and `\uHHHH` read as one character each.

    Args:
      shown: the origin of the text in errors: the flag with its value, or a place in a file.
      text: the value.

    Raises:
      UserError: if a backslash is followed by anything else.
    """
    plain = {escaped[1]: character for character, escaped in _ESCAPES.items()}

    def replace(found: re.Match[str]) -> str:
        code, letter = found.groups()
        character = chr(int(code[1:], 16)) if code else plain.get(letter)
        if character is None or "\ud800" <= character <= "\udfff":
            after = code or letter or "nothing"
            raise UserError(
                f"{shown}: a backslash before {after!r}; expected n, t, r, xHH, "
                "uHHHH of a character, or a second backslash"
            )
        return character

    return _ESCAPE.sub(replace, text)


def _flag_value(flag_values: flags.FlagValues, name: str, entry: dataclasses.Field[Any]) -> Any:
    value: Any = flag_values[name].value
    if isinstance(value, list):
        return tuple(_unescaped(name, item, entry) for item in value)
    return _unescaped(name, value, entry)


def _unescaped(name: str, value: Any, entry: dataclasses.Field[Any]) -> Any:
    return unescape(f"--{name}={value}", value) if entry.metadata.get("escapes") else value


def _value_type(hint: Any) -> type:
    """Returns the type of a field's values: `float` for `float | None`, `tuple` for any tuple."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return tuple if typing.get_origin(hint) is tuple else hint
