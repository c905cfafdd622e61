"""A client of a model on a server, and the flags that name both. Does not import TensorFlow."""

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
from tf_textgen.config import Config, field
from tf_textgen.decoding.decoding_config import DecodingConfig, check_against_source
from tf_textgen.decoding.parameter_table import NO_SAMPLING
from tf_textgen.errors import UserError

_SAMPLING_PARAMETERS = {*NO_SAMPLING, "seed", "num_samples", "beam_width"}
_BEAM_PARAMETERS = {"beam_width", "num_best", "length_penalty", "length_penalty_alpha"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteConfig(Config):
    """The server, the model on it, and the time that it gets."""

    server: str | None = field(
        None,
        "Ask this server (HOST:PORT of its REST API, or a URL) instead of a run. Parameters that "
        "are not given are not taken from the export: temperature 1, no cut-offs. The width of a "
        "beam is fixed by the export.",
    )
    server_model: str | None = field(None, "The model's name on the server.")
    server_timeout_s: float = field(60.0, "Time limit of a request in seconds.", at_least=0.001)


@contextlib.contextmanager
def remote_model(
    remote_config: RemoteConfig, flag_values: flags.FlagValues
) -> Iterator[RemoteModel]:
    """Yields the model on the server, with the decoding flags of the command line.

    Raises:
      UserError: if the server does not answer, also within the block, or refuses a parameter.
    """
    if not remote_config.server_model:
        raise UserError("--server_model is missing: expected the name of the model on --server")
    # Bad values are reported before a request is sent.
    decoding = config.override(DecodingConfig(), flag_values)
    if decoding.beam_width > 1:
        flag = f"--{decoding.prefix}.beam_width={decoding.beam_width}"
        print(f"note: {flag} asks for the export's own beam, whose width it fixed", file=sys.stderr)
    parameters = _given_parameters(decoding, flag_values)
    address = str(remote_config.server)
    name = remote_config.server_model
    timeout_s = remote_config.server_timeout_s
    with _as_user_errors(), Client(address, name, timeout_s=timeout_s) as client:
        model = RemoteModel(client, decoding, parameters)
        check_against_source(decoding, model.is_pair)
        yield model


class RemoteModel:
    """A model on a server, with the decoding parameters of the command line.

    Args:
      client: a client of the model.
      decoding: chooses sampling or beam search, and the number of texts.
      parameters: the parameters of a request.

    Attributes:
      is_pair: whether its prompts are sources.
      can_stream: whether it sends one text piece by piece with these parameters.
    """

    def __init__(
        self, client: Client, decoding: DecodingConfig, parameters: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._decoding = decoding
        self._parameters = parameters
        signatures = client.metadata().signatures
        self.is_pair = "generate" in signatures and signatures["generate"].text_input == "source"
        is_one_text = decoding.beam_width == 1 and decoding.num_samples == 1
        self.can_stream = is_one_text and "generate_chunk" in signatures

    def generate(self, texts: Sequence[str]) -> list[Completion]:
        """Continues prompts, or maps sources."""
        if self._decoding.beam_width == 1:
            return self._client.generate(texts, **self._parameters)
        parameters = {**self._parameters, "num_best": self._decoding.num_best}
        completions = []
        for best in self._client.beam_search(texts, **parameters):
            completions += best
        return completions

    def stream(self, text: str) -> TextStream:
        """Continues one prompt, or maps one source, piece by piece."""
        return self._client.stream(text, **self._parameters)


def _given_parameters(decoding: DecodingConfig, flag_values: flags.FlagValues) -> dict[str, Any]:
    """The parameters on the command line that its kind of search has."""
    unused = _SAMPLING_PARAMETERS if decoding.beam_width > 1 else _BEAM_PARAMETERS
    given = {}
    for entry in dataclasses.fields(decoding):
        is_given = flag_values[f"{decoding.prefix}.{entry.name}"].present
        if is_given and entry.name not in unused:
            given[entry.name] = getattr(decoding, entry.name)
    return given


@contextlib.contextmanager
def _as_user_errors() -> Iterator[None]:
    """Converts errors of the client, and names the flag instead of its parameter."""
    try:
        yield
    except InvalidRequest as error:
        is_flag = hasattr(DecodingConfig(), error.parameter or "")
        flag = f"--{DecodingConfig.prefix}." if is_flag else ""
        raise UserError(f"{flag}{error}") from error
    except ServingError as error:
        raise UserError(f"--server: {error}") from error
