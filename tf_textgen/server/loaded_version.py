"""One version of an export in memory: its signatures, its warm-up, and answers."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from tf_textgen.errors import UserError
from tf_textgen.export.loaded_saved_model import (
    CONFIG_FILE,
    LoadedSavedModel,
    damage_as_user_error,
    read_config,
    read_saved_model,
)
from tf_textgen.export.prediction_log import REQUESTS_FILE, read_requests
from tf_textgen.server.json_tensors import DEFAULT_SIGNATURE, Arrays, Specs
from tf_textgen.server.request_error import RequestError, invalid

_SERVE_TAG = "serve"
_ADVICE = "expected an export as `export` wrote it; export again"


class LoadedVersion:
    """A SavedModel whose signatures take and return the batch first.

    Args:
      folder: `NAME/VERSION`.

    Attributes:
      config: what `export` wrote of the model; empty for a SavedModel of others.
      signature_defs: as JSON, with the names that TF Serving shows.

    Raises:
      UserError: if it cannot be loaded or served.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {}
        with damage_as_user_error(f"{folder}: cannot be served", _ADVICE):
            self.signature_defs = _signature_defs(folder)
            if (folder / CONFIG_FILE).is_file():
                self.config = read_config(folder)
            self._model = LoadedSavedModel(folder)
        for name in self.signature_names:
            for spec in (*self.inputs(name).values(), *self._model.outputs(name).values()):
                if spec.shape.rank == 0 or (spec.shape.rank and spec.shape[0] is not None):
                    raise UserError(
                        f"{folder}: {spec.name} of signature {name} has no free first dimension; "
                        f"{_ADVICE}"
                    )

    @property
    def signature_names(self) -> list[str]:
        """The signatures of the version."""
        return sorted(self._model.signatures)

    def inputs(self, signature_name: str) -> Specs:
        """The inputs of a signature; raises `RequestError` if there is none."""
        if signature_name not in self._model.signatures:
            raise invalid(
                f'Serving signature name: "{signature_name[:80]}" not found in signature def'
            )
        return self._model.inputs(signature_name)

    def run(self, signature_name: str, inputs: Arrays) -> Arrays:
        """Answers rows.

        Raises:
          RequestError: if the graph refuses them, or fails.
        """
        self.inputs(signature_name)
        try:
            return self._model.run(signature_name, inputs)
        except tf.errors.OpError as error:
            code = 400 if isinstance(error, tf.errors.InvalidArgumentError) else 500
            raise RequestError(code, _reason(error)) from error

    def warm_up(self) -> None:
        """Answers the warm-up requests, so that no user waits for the first run of a graph."""
        with damage_as_user_error(f"{self.folder}: cannot be served", _ADVICE, RequestError):
            for signature_name, inputs in self._warm_up_requests():
                self.run(signature_name, inputs)

    def _warm_up_requests(self) -> Iterator[tuple[str, Arrays]]:
        """The records of the version, or one row of neutral values for each signature."""
        records = self.folder / REQUESTS_FILE
        if records.is_file():
            for name, inputs in read_requests(records):
                yield name or DEFAULT_SIGNATURE, inputs
            return
        for name in self.signature_names:
            yield name, {key: _neutral(spec) for key, spec in self.inputs(name).items()}


def _neutral(spec: tf.TensorSpec) -> np.ndarray:
    """One row of zeros or of an empty text; other free dimensions have one element."""
    shape = [1 if size is None else size for size in spec.shape]
    if spec.dtype == tf.string:
        return np.full(shape, b"", object)
    return np.zeros(shape, spec.dtype.as_numpy_dtype)


def _reason(error: tf.errors.OpError) -> str:
    """Returns the message of an op, without its place in the graph."""
    lines = error.message.partition("[[{{node")[0].split("\n")
    return next(
        (line.strip()[:300] for line in reversed(lines) if line.strip()), type(error).__name__
    )


def _signature_defs(folder: pathlib.Path) -> dict[str, Any]:
    graphs = [
        graph
        for graph in read_saved_model(folder).meta_graphs
        if _SERVE_TAG in graph.meta_info_def.tags
    ]
    if not graphs:
        raise ValueError(f"no graph with the tag {_SERVE_TAG!r}")
    return {
        name: json_format.MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, definition in graphs[0].signature_def.items()
    }
