"""The way to a served model, of which REST and gRPC are two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tf_textgen.client.errors import Deadline
from tf_textgen.client.results import ModelMetadata, Signature, VersionStatus


class Transport(Protocol):
    """One way to a served model; each method makes one attempt and raises a
    `ServingError`.
    """

    # The address and the model, for messages.
    where: str

    def predict(
        self,
        signature: Signature,
        inputs: Mapping[str, list[Any]],
        version: int | None,
        deadline: Deadline,
    ) -> Mapping[str, Any]:
        """The outputs of a signature by name, as nested lists; `version` None is the one that the
        client asks.
        """

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """The signatures of the version that answers."""

    def status(self, deadline: Deadline) -> list[VersionStatus]:
        """The state of each version."""

    def close(self) -> None:
        """Ends all connections."""
