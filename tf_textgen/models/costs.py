"""The costs of a model, from its configuration only. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses

from tf_textgen.config import Config
from tf_textgen.errors import UserError
from tf_textgen.models import MODELS
from tf_textgen.models.cost_parts import Costs, Part


def costs(config: Config, *, source_tokens: int, target_tokens: int) -> Costs:
    """The costs of the model that `config` describes.

    Args:
      config: of any family.
      source_tokens: length of the sources; language models have none.
      target_tokens: the context that attention looks at; causal products are made whole, so
        training takes it too.

    Raises:
      UserError: if `config` is not that of a family.
    """
    entry = MODELS.get(config.prefix)
    if entry is None or not isinstance(config, entry.config_class):
        raise UserError(
            f"costs of {type(config).__name__}: expected a configuration of a model family"
        )
    return entry.costs_of(config, source_tokens, target_tokens)


def with_frozen_embeddings(found: Costs, side: str) -> Costs:
    """The costs if the tables of `EmbeddingConfig.side` are not trained, and with them a tied
    output projection.
    """
    tables = [part for part in found.parts if part.name.endswith("embedding")]
    # A table that both sides share is the target's.
    frozen = [table for table in tables if side in ("all", table.side)] or tables
    tied = any(table.side == "target" for table in frozen)

    def stays(part: Part) -> bool:
        return part in frozen or (tied and part.name.endswith("logits") and not part.weights)

    return dataclasses.replace(
        found, parts=tuple(_frozen(part) if stays(part) else part for part in found.parts)
    )


def _frozen(part: Part) -> Part:
    return part._replace(
        frozen=True, weights=tuple(weight._replace(trained=False) for weight in part.weights)
    )
