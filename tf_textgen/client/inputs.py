"""The inputs of a signature from texts and decoding parameters. Standard library only."""

from __future__ import annotations

import contextlib
import difflib
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from tf_textgen.client.errors import InvalidRequest
from tf_textgen.client.results import Signature
from tf_textgen.decoding.parameter_table import BEAM_PARAMETERS, PARAMETERS, SEPARATOR

# The values of the inputs that are not given.
DEFAULTS: Mapping[str, Any] = {
    parameter.name: parameter.client_value for parameter in (*PARAMETERS, *BEAM_PARAMETERS)
}
_INT_BITS = {"DT_INT32": 31, "DT_INT64": 63}


def check_texts(
    name: str, texts: str | Sequence[str], *, parameter: str | None = None
) -> list[str]:
    """`texts` as a list (a single text is a list of one); raises `InvalidRequest` if one is no
    valid text.
    """
    checked = [texts] if isinstance(texts, str) else list(texts)
    for number, text in enumerate(checked, 1):
        place = f"{name} {number}"
        if not isinstance(text, str):
            came = f"{type(text).__name__} {text!r:.80} came"
            raise InvalidRequest(
                f"{place}: {came}, expected a str; decode it first", parameter=parameter
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"{place}: character {error.start + 1} of {text!r:.80} is a lone surrogate; "
                "expected valid Unicode",
                parameter=parameter,
            ) from None
    return checked


def inputs_of(
    signature: Signature, columns: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Every input of a signature, as TensorFlow Serving's REST demands it.

    Args:
      signature: of the served model. An export by an earlier version lacks some inputs.
      columns: a value for each row, by name.
      parameters: one value for all rows, by name; a missing one (or None) takes its neutral
        value.

    Raises:
      InvalidRequest: if a value is of the wrong type, or the model has no such input.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    _check_sources(signature, columns)
    _check_known(signature, [*columns], given)
    rows = len(next(iter(columns.values())))
    values = {**DEFAULTS, **given}
    inputs = {}
    for name, tensor in signature.inputs.items():
        if name in columns:
            inputs[name] = list(columns[name])
        elif name in values:
            inputs[name] = [as_input(name, values[name], tensor.dtype)] * rows
        else:
            raise InvalidRequest(
                f"the signature {signature.name!r} takes {name!r}, which this client does not know "
                "and was not given; expected an export of the client's version: update the client"
            )
    return inputs


def _check_sources(signature: Signature, columns: Mapping[str, Sequence[Any]]) -> None:
    takes_sources = {"text", "source"} <= signature.inputs.keys()
    if takes_sources and "source" not in columns:
        raise InvalidRequest(
            f"sources is missing: the signature {signature.name!r} of this model takes a source "
            "for each text; pass sources"
        )
    if "text" in columns and "source" in columns and not takes_sources:
        raise InvalidRequest(
            f"sources is given: the signature {signature.name!r} of this model takes only texts; "
            "leave sources out"
        )


def _check_known(signature: Signature, columns: Sequence[str], given: Mapping[str, Any]) -> None:
    for name in columns:
        if name not in signature.inputs:
            raise InvalidRequest(
                f"the signature {signature.name!r} of this model takes no {name!r}; leave it out"
            )
    for name, value in given.items():
        if name in signature.inputs or (name in DEFAULTS and _is_default(name, value)):
            continue
        if name in DEFAULTS:
            raise InvalidRequest(
                f"{name}={value!r:.80}: the signature {signature.name!r} of this model takes no "
                f"{name}; leave it out, or serve an export that has it",
                parameter=name,
            )
        near = difflib.get_close_matches(name, signature.inputs, n=1)
        raise InvalidRequest(
            f"{name}={value!r:.80}: no such parameter; expected one of those of {signature.name!r}"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            parameter=name,
        )


def _is_default(name: str, value: Any) -> bool:
    return value == DEFAULTS[name] or (DEFAULTS[name] == () and not value)


def as_input(name: str, value: Any, dtype: str) -> Any:
    """One value as the JSON of its type; raises `InvalidRequest` if it is of another."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if dtype == "DT_STRING":
        return _text(name, value)
    if dtype in _INT_BITS:
        bound = 2 ** _INT_BITS[dtype]
        if is_number and isinstance(value, numbers.Integral) and -bound <= value < bound:
            return int(value)
        raise InvalidRequest(
            f"{name}={value!r:.80}: expected an integer from {-bound} to {bound - 1}",
            parameter=name,
        )
    with contextlib.suppress(OverflowError):
        if is_number:
            return float(value)
    raise InvalidRequest(f"{name}={value!r:.80}: expected a number", parameter=name)


def _text(name: str, value: Any) -> str:
    """A text, or several (of `stop`, say) joined into one."""
    several = DEFAULTS.get(name) == ()
    texts = check_texts(name, value, parameter=name) if value else []
    if any(not text or SEPARATOR in text for text in texts) or (
        texts and not several and not isinstance(value, str)
    ):
        expected = "a text, or several, none empty and none with" if several else "one text without"
        raise InvalidRequest(
            f"{name}={value!r:.80}: expected {expected} {SEPARATOR!r}", parameter=name
        )
    return SEPARATOR.join(texts)
