"""Requests and answers in the JSON of TF Serving's REST interface.

  row form     {"signature_name": ..., "instances": [...]} -> {"predictions": [...]}
  column form  {"signature_name": ..., "inputs": ...}      -> {"outputs": ...}

If a signature has one input, or one output, its values are given without its name. Bytes are
`{"b64": "..."}`; outputs whose name ends in `_bytes` are written so. Errors say what TF Serving
says, but for long values.

Reference: TensorFlow Serving, RESTful API (tensorflow.org/tfx/serving/api_rest).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.server.request_error import RequestError, invalid

Specs = Mapping[str, tf.TensorSpec]
Arrays = dict[str, np.ndarray]
DEFAULT_SIGNATURE = "serving_default"
_BYTES_SUFFIX = "_bytes"
_SHOWN = 80  # characters of a value in an error
_TYPES = {
    bool: "Bool",
    int: "Number",
    float: "Number",
    str: "String",
    list: "Array",
    dict: "Object",
}


class PredictRequest(NamedTuple):
    """A request by signature: arrays by the inputs' names, and the form of its answer."""

    signature_name: str
    inputs: Arrays
    row_form: bool


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; raises `RequestError` if there is none."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8-sig"))
        # Fails for half of a character, which neither a tensor nor an answer can contain.
        if b"\\u" in body:
            to_json(document)
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    except RecursionError as error:
        raise invalid("JSON Parse error: nested too deeply") from error
    except ValueError as error:
        # Not UTF-8, not JSON, or an integer of thousands of digits.
        raise invalid(f"JSON Parse error: {str(error)[:_SHOWN]}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_show(document)} Is not object")
    return document


def parse_request(document: Mapping[str, Any], specs_of: Callable[[str], Specs]) -> PredictRequest:
    """Reads a predict request.

    Args:
      document: the body's object.
      specs_of: a signature's name -> its inputs; raises `RequestError` if it is not known.

    Raises:
      RequestError: if a value is missing, or has not the type or shape that the signature asks
        for.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_show(name)} not formatted correctly. 'signature_name' key must be a "
            "string value."
        )
    name = name or DEFAULT_SIGNATURE
    if "instances" in document and "inputs" in document:
        raise invalid(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if "instances" not in document and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    specs = specs_of(name)
    if "instances" in document:
        inputs = _from_instances(document["instances"], specs)
        return PredictRequest(name, inputs, row_form=True)
    return PredictRequest(name, _from_inputs(document["inputs"], specs), row_form=False)


def to_answer(outputs: Arrays, row_form: bool) -> dict[str, Any]:
    """The object that answers a request, `outputs` having the batch first."""
    columns = {name: _plain(name, array) for name, array in sorted(outputs.items())}
    key = "predictions" if row_form else "outputs"
    if len(columns) == 1:
        (only,) = columns.values()
        return {key: only}
    if not row_form:
        return {key: columns}
    rows = zip(*columns.values(), strict=True)
    return {key: [dict(zip(columns, row, strict=True)) for row in rows]}


def to_json(value: Any) -> bytes:
    """JSON as TF Serving writes it: UTF-8, and `NaN` and `Infinity` if there are such."""
    return json.dumps(value, ensure_ascii=False).encode()


def to_array(value: Any, spec: tf.TensorSpec) -> np.ndarray:
    """An array of `spec`'s dtype from a number, string or nested list; raises `RequestError` if it
    is something else.
    """
    shape = _shape(value)
    flat: list[Any] = []
    _fill(value, 0, shape, spec.dtype, flat)
    # A NumPy array of texts would lose zero bytes at their ends.
    dtype = object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
    array = np.empty(len(flat), dtype)
    array[:] = flat
    array = array.reshape(shape)
    if not spec.shape.is_compatible_with(shape):
        raise invalid(f"Expecting shape {_show_shape(spec.shape)} but got: {_show_shape(shape)}")
    return array


def _from_instances(instances: Any, specs: Specs) -> Arrays:
    """Each element has one row of every input."""
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {_show(instances)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("JSON Value: [] No values in 'instances' array")
    if not _is_named(instances[0]):
        return _from_plain_instances(instances, specs)
    names = set(specs)
    for i, element in enumerate(instances):
        if not _is_named(element):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if set(element) != names:
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: "
                f"{_show(element)} keys must be equal to: {','.join(sorted(names))}"
            )
    return {
        name: _column([element[name] for element in instances], name, spec)
        for name, spec in specs.items()
    }


def _from_plain_instances(instances: list[Any], specs: Specs) -> Arrays:
    if len(specs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for i, element in enumerate(instances):
        if _is_named(element):
            raise invalid(f"Expecting value/list but got object at item {i} of input list")
    ((name, spec),) = specs.items()
    return {name: _column(instances, name, spec)}


def _from_inputs(inputs: Any, specs: Specs) -> Arrays:
    """Every input has all its rows."""
    if not _is_named(inputs):
        if len(specs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = dict.fromkeys(specs, inputs)
    for name in specs:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.", name)
    arrays = {name: _column(inputs[name], name, spec) for name, spec in specs.items()}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        raise invalid(f"inputs have different numbers of rows ({shown}): expected as many of each")
    if 0 in counts.values():
        # TF Serving never answers such a request.
        raise invalid("No values in 'inputs': expected at least one row")
    return arrays


def _column(values: Any, name: str, spec: tf.TensorSpec) -> np.ndarray:
    try:
        return to_array(values, spec)
    except RequestError as error:
        raise invalid(f"Failed to process key: {name}. Error: {error.message}", name) from error


def _is_named(value: Any) -> bool:
    """Returns whether it is an object that does not represent bytes."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: dict[str, Any]) -> bool:
    return set(value) == {"b64"} and isinstance(value["b64"], str)


def _shape(value: Any) -> tuple[int, ...]:
    """That of the first elements; `_fill` holds the others to it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _fill(value: Any, level: int, shape: tuple[int, ...], dtype: tf.DType, flat: list[Any]) -> None:
    if len(shape) > 8:  # numpy and TensorFlow end at more, and no signature has as many
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < 8")
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {_show(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        flat.append(_scalar(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for one in value:
        _fill(one, level + 1, shape, dtype, flat)


def _scalar(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        return _bytes(value)
    if dtype == tf.bool and isinstance(value, bool):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (
        dtype.is_integer
        and is_number
        and isinstance(value, int)
        and dtype.min <= value <= dtype.max
    ):
        return value
    if dtype.is_floating and is_number:
        return _decimal(value, dtype)
    raise invalid(
        f"JSON Value: {_show(value)} Type: {_type(value)} is not of expected type: {dtype.name}"
    )


def _decimal(value: float, dtype: tf.DType) -> float:
    """Whole numbers must have a place of their own in the type, and others its range."""
    if isinstance(value, int):
        largest = 2 ** (np.finfo(dtype.as_numpy_dtype).nmant + 1) - 1
        fits = abs(value) <= largest
    else:
        fits = not math.isfinite(value) or abs(value) <= float(dtype.max)
    if not fits:
        raise invalid(
            f"Cannot convert JSON value: {_show(value)} to {dtype.name} without loss of precision."
        )
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        if not _is_base64(value):
            raise invalid(f"JSON Value: {_show(value)} not formatted correctly for base64 data")
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid("Unable to base64 decode") from error
    if not isinstance(value, str):
        raise invalid(
            f"JSON Value: {_show(value)} Type: {_type(value)} is not of expected type: string"
        )
    return value.encode()


def _plain(name: str, array: np.ndarray) -> list[Any]:
    """Nested lists of what JSON has."""
    if array.dtype == object:
        if not array.size:
            return array.tolist()
        as_text = _to_base64 if name.endswith(_BYTES_SUFFIX) else _to_text
        return np.frompyfunc(as_text, 1, 1)(array).tolist()
    if array.dtype == np.float32:
        # 0.2, not 0.20000000298.
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def _to_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _to_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "Null")


def _show(value: Any) -> str:
    """A value in an error: short, and only its type if it contains others, which can be nested
    deeply.
    """
    if isinstance(value, (list, dict)):
        return f"{_type(value)} of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _show_shape(shape: Sequence[int | None] | tf.TensorShape) -> str:
    return f"[{','.join('?' if size is None else str(size) for size in shape)}]"
