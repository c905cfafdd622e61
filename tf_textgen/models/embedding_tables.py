"""The embedding tables of a model by the side that they belong to."""

from __future__ import annotations

from tf_textgen.errors import UserError
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.models.base import TextModel


def embedding_tables(model: TextModel, side: str) -> dict[str, TokenEmbedding]:
    """The tables of `EmbeddingConfig.side` by the names of their layers.

    Raises:
      UserError: if the model has none.
    """
    names = (
        ["embedding", "source_embedding", "target_embedding"]
        if side == "all"
        else [f"{side}_embedding"]
    )
    layers = [getattr(model, name, None) for name in names]
    found = {layer.name: layer for layer in layers if isinstance(layer, TokenEmbedding)}
    if not found:
        came = "--embedding.file" if side == "all" else f"--embedding.side={side}"
        what = "no embedding table" if side == "all" else "no sides"
        raise UserError(f"{came} with --model={model.name}: this model has {what}; leave it out")
    return found
