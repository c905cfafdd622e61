"""One version of an export in memory, asked by its signatures."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # registers the tokenizers' ops
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf_textgen.compat import quiet_stderr
from tf_textgen.errors import UserError
from tf_textgen.server.json_tensors import Arrays, Specs
from tf_textgen.server.request_error import RequestError, invalid
from tf_textgen.server.warm_up import warmup_requests

_SERVE_TAG = "serve"
# What reading, loading or warming up a SavedModel raises if it is not as it was written.
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, DecodeError, RequestError, tf.errors.OpError
)  # fmt: skip
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
        with _told_as_damage(folder):
            self.signature_defs = _signature_defs(folder)
            config = folder / "assets.extra" / "config.json"
            self.config: dict[str, Any] = (
                json.loads(config.read_text("utf-8")) if config.is_file() else {}
            )
            with quiet_stderr():
                self._loaded = tf.saved_model.load(str(folder))
        self._signatures = dict(self._loaded.signatures)
        for name, signature in self._signatures.items():
            for spec in (*self.inputs(name).values(), *signature.structured_outputs.values()):
                if spec.shape.rank == 0 or (spec.shape.rank and spec.shape[0] is not None):
                    raise UserError(
                        f"{folder}: {spec.name} of signature {name} has no free first dimension; "
                        f"{_ADVICE}"
                    )

    @property
    def signature_names(self) -> list[str]:
        """What may be asked."""
        return sorted(self._signatures)

    def inputs(self, signature_name: str) -> Specs:
        """The inputs of a signature; raises `RequestError` if there is none."""
        if signature_name not in self._signatures:
            raise invalid(
                f'Serving signature name: "{signature_name[:80]}" not found in signature def'
            )
        return self._signatures[signature_name].structured_input_signature[1]

    def run(self, signature_name: str, inputs: Arrays) -> Arrays:
        """Answers rows.

        Raises:
          RequestError: if the graph refuses them, or fails.
        """
        specs = self.inputs(signature_name)
        tensors = {name: tf.constant(array, specs[name].dtype) for name, array in inputs.items()}
        try:
            outputs = self._signatures[signature_name](**tensors)
        except tf.errors.OpError as error:
            code = 400 if isinstance(error, tf.errors.InvalidArgumentError) else 500
            raise RequestError(code, _reason(error)) from error
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    def warm_up(self) -> None:
        """Asks every signature once, so that no request pays for the first run."""
        with _told_as_damage(self.folder):
            for signature_name, inputs in warmup_requests(
                self.folder, self.signature_names, self.inputs
            ):
                self.run(signature_name, inputs)


def _reason(error: tf.errors.OpError) -> str:
    """What an op said, without where in the graph it stands."""
    lines = error.message.partition("[[{{node")[0].split("\n")
    return next(
        (line.strip()[:300] for line in reversed(lines) if line.strip()), type(error).__name__
    )


@contextlib.contextmanager
def _told_as_damage(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise UserError(f"{folder}: cannot be served ({str(error)[:200]}); {_ADVICE}") from error


def _signature_defs(folder: pathlib.Path) -> dict[str, Any]:
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graphs = [graph for graph in saved.meta_graphs if _SERVE_TAG in graph.meta_info_def.tags]
    if not graphs:
        raise ValueError(f"no graph with the tag {_SERVE_TAG!r}")
    return {
        name: json_format.MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, definition in graphs[0].signature_def.items()
    }
