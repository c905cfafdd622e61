"""A served model that a job asks over REST, and the flags that name it.

Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from tf_textgen import config
from tf_textgen.client.rest_client import (
    Client,
    Completion,
    InvalidRequest,
    ServingError,
    TextStream,
)
from tf_textgen.decoding.decoding_config import NO_SAMPLING, DecodingConfig, check_against_source
from tf_textgen.errors import UserError

_NOT_OF_A_BEAM = {*NO_SAMPLING, "seed", "num_samples", "beam_width"}
_OF_A_BEAM = {"beam_width", "num_best", "length_penalty", "length_penalty_alpha"}


def define_server_flags(flag_values: flags.FlagValues) -> None:
    """`--server`, `--server_model` and `--server_timeout_s`."""
    server_help = (
        "Ask this server (HOST:PORT of its REST API, or a URL) instead of a run. What is not said "
        "is not taken from the export: temperature 1, no cut-offs. With a beam, the export fixes "
        "its width."
    )
    flags.DEFINE_string("server", None, server_help, flag_values=flag_values)
    flags.DEFINE_string(
        "server_model", None, "The model's name on the server.", flag_values=flag_values
    )
    timeout_help = "Seconds that the server has for a request."
    flags.DEFINE_float(
        "server_timeout_s", 60.0, timeout_help, lower_bound=0.001, flag_values=flag_values
    )


@contextlib.contextmanager
def served_model(flag_values: flags.FlagValues) -> Iterator[Served]:
    """The model that the flags name, until the block ends.

    Raises:
      UserError: if the server cannot be asked, also in the block, or for flags that it cannot
        obey.
    """
    address = str(flag_values["server"].value)
    name = str(flag_values["server_model"].value or "")
    if not name:
        raise UserError(
            "--server_model is missing: expected the name under which --server has the model"
        )
    decoding = config.override(
        DecodingConfig(), flag_values
    )  # bad values are reported before anything is asked
    unread = _NOT_OF_A_BEAM if decoding.beam_width > 1 else _OF_A_BEAM
    names = [entry.name for entry in dataclasses.fields(decoding) if entry.name not in unread]
    given = {
        name: getattr(decoding, name)
        for name in names
        if flag_values[f"{decoding.prefix}.{name}"].present
    }
    if decoding.beam_width > 1:
        width = f"--{decoding.prefix}.beam_width={decoding.beam_width}"
        print(
            f"note: {width} asks for the export's own beam, whose width it fixed", file=sys.stderr
        )
    timeout_s = float(flag_values["server_timeout_s"].value or 0)
    with _told(), Client(address, name, timeout_s=timeout_s) as client:
        served = Served(client, decoding, given)
        check_against_source(decoding, served.is_pair)
        yield served


class Served:
    """A served model with the decoding parameters of the command line.

    Args:
      client: of the model.
      decoding: whether there is a beam, and how many texts.
      parameters: what the client is asked for.

    Attributes:
      is_pair: whether it maps sources.
      streams: whether it can say one text piece by piece, as `decoding` wants it.
    """

    def __init__(
        self, client: Client, decoding: DecodingConfig, parameters: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._decoding = decoding
        self._parameters = parameters
        signatures = client.metadata().signatures
        self.is_pair = "generate" in signatures and signatures["generate"].text_input == "source"
        alone = decoding.beam_width == decoding.num_samples == 1
        self.streams = alone and "generate_chunk" in signatures

    def generate(self, texts: Sequence[str]) -> list[Completion]:
        """What the server says of prompts or sources."""
        if self._decoding.beam_width == 1:
            return self._client.generate(texts, **self._parameters)
        wish = {**self._parameters, "num_best": self._decoding.num_best}
        return [one for best in self._client.beam_search(texts, **wish) for one in best]

    def stream(self, text: str) -> TextStream:
        """One text, piece by piece."""
        return self._client.stream(text, **self._parameters)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Tells errors as those of a job, which speaks of flags."""
    try:
        yield
    except InvalidRequest as error:
        flag = (
            f"--{DecodingConfig.prefix}."
            if hasattr(DecodingConfig(), error.parameter or "")
            else ""
        )
        raise UserError(f"{flag}{error}") from error
    except ServingError as error:
        raise UserError(f"--server: {error}") from error
