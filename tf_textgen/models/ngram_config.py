"""The shape of an n-gram language model. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from tf_textgen.config import field, required
from tf_textgen.errors import UserError
from tf_textgen.models.model_config import ModelConfig

_COUNTED = ("contexts", "continuations")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NGramConfig(ModelConfig):
    """An interpolated n-gram model; its sizes are known once it has been counted."""

    prefix: ClassVar[str] = "ngram"
    trained_by: ClassVar[str] = "counting"
    # XLA would compare every key with every value.
    supports_xla: ClassVar[bool] = False
    has_embeddings: ClassVar[bool] = False

    vocabulary_size: int = field(required, "Number of token ids.", at_least=1, flag=False)
    pad_id: int = field(0, "Id of padding.", at_least=0, flag=False)
    order: int = field(
        5,
        "Longest n-gram in tokens. 5 is usual for words and their pieces (Heafield et al. 2013); "
        "characters take 6.",
        at_least=1,
        at_most=6,
    )
    contexts: tuple[int, ...] = field(
        (), "Contexts seen before a token, of orders 2, 3, ...", flag=False
    )
    continuations: tuple[int, ...] = field(
        (), "Different n-grams seen, of orders 2, 3, ...", flag=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _COUNTED:
            sizes = getattr(self, name)
            if sizes and len(sizes) != self.order - 1:
                raise UserError(
                    f"--ngram.order={self.order} with ngram.{name} of {len(sizes) + 1} orders: "
                    "expected the order that was counted; leave the flag out or train again"
                )

    def to_json(self) -> dict[str, Any]:
        """The fields; sizes that were not counted yet are left out, as nothing is known that could
        be compared.
        """
        return {
            name: value
            for name, value in super().to_json().items()
            if value or name not in _COUNTED
        }

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Contexts and continuations of orders 2 to `order`; none before anything was counted."""
        nothing = (0,) * (self.order - 1)
        return list(zip(self.contexts or nothing, self.continuations or nothing, strict=True))
