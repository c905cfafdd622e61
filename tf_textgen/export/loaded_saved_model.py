"""A SavedModel in memory, which is asked by its signatures."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # registers the tokenizers' ops
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf_textgen.compat import quiet_stderr
from tf_textgen.errors import UserError

CONFIG_FILE = os.path.join("assets.extra", "config.json")
# The errors of reading and loading a SavedModel that is damaged.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    DecodeError,
    tf.errors.OpError,
)


class LoadedSavedModel:
    """A SavedModel loaded by TensorFlow's Python interface.

    Args:
      folder: `NAME/VERSION`.

    Attributes:
      signatures: their functions by name.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        with quiet_stderr():
            # Its variables live as long as it does.
            self._loaded = tf.saved_model.load(str(folder))
        self.signatures: dict[str, Any] = dict(self._loaded.signatures)

    def inputs(self, signature_name: str) -> dict[str, tf.TensorSpec]:
        """The inputs of a signature by name."""
        return self.signatures[signature_name].structured_input_signature[1]

    def outputs(self, signature_name: str) -> dict[str, tf.TensorSpec]:
        """The outputs of a signature by name."""
        return self.signatures[signature_name].structured_outputs

    def run(self, signature_name: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Answers one request: arrays, or lists of Python values, in; arrays out."""
        specs = self.inputs(signature_name)
        tensors = {name: tf.constant(values, specs[name].dtype) for name, values in inputs.items()}
        outputs = self.signatures[signature_name](**tensors)
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    def answer(self, signature_name: str, inputs: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Like `run`, with lists of Python values in and out."""
        return to_lists(self.run(signature_name, inputs))


def to_lists(outputs: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Arrays or tensors as nested lists of Python values, bytes decoded as UTF-8."""
    lists = {}
    for name, values in outputs.items():
        array = np.asarray(values)
        if array.dtype == object:
            array = np.frompyfunc(bytes.decode, 1, 1)(array)
        lists[name] = array.tolist()
    return lists


def read_saved_model(folder: str | os.PathLike[str]) -> saved_model_pb2.SavedModel:
    """The graphs of a SavedModel, which is not loaded."""
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read())


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """The description of the model that `export_saved_model` wrote next to it."""
    return json.loads((folder / CONFIG_FILE).read_text("utf-8"))


@contextlib.contextmanager
def damage_as_user_error(
    problem: str, advice: str, *more_errors: type[Exception]
) -> Iterator[None]:
    """Raises `UserError` if the block fails because a SavedModel is not as it was written.

    Args:
      problem: the first part of the message, before the reason.
      advice: what is expected, and what to do.
      more_errors: errors of the block that mean damage too.
    """
    try:
        yield
    except (*_DAMAGE, *more_errors) as error:
        raise UserError(f"{problem} ({str(error)[:200]}); {advice}") from error
