"""Serving signatures, as each capability of `TextGenerator` declares them in its own file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import DTYPES, Parameters

# Values of a request in plain Python, one a row in each list.
Inputs = dict[str, list[Any]]
TEXTS = tf.TensorSpec([None], tf.string)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """A function that a server offers.

    Attributes:
      name: name of the signature.
      inputs: specifications by name, all `[B]`: TF Serving merges requests along the batch.
      function: tensors of `inputs` by name -> tensors by name, the batch first.
      example_inputs: inputs of a request for given texts and decoding parameters. They are used to
        check an export and to warm up a server.
    """

    name: str
    inputs: Mapping[str, tf.TensorSpec]
    function: Callable[..., dict[str, tf.Tensor]]
    example_inputs: Callable[[Sequence[str], DecodingConfig], Inputs]


class Capability(Protocol):
    """A part of `TextGenerator` that a server can offer."""

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """The signatures in an export whose `serving_default` decodes by `decoding`."""
        ...


def row_specs(**dtypes: tf.DType) -> dict[str, tf.TensorSpec]:
    """Specifications of `[B]` vectors by name."""
    return {name: tf.TensorSpec([None], dtype, name) for name, dtype in dtypes.items()}


PARAMETER_SPECS = Parameters(**row_specs(**DTYPES._asdict()))


def text_inputs(texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
    """Example inputs of a signature whose only input is `text`."""
    return {"text": list(texts)}
