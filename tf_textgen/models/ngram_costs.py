"""The costs of an n-gram model. Does not import TensorFlow."""

from __future__ import annotations

from tf_textgen.models.cost_parts import FLOAT32_BYTES, Costs, Part, Weight
from tf_textgen.models.ngram_config import NGramConfig

_INT64_BYTES = 8


def ngram_costs(config: NGramConfig, source_tokens: int, target_tokens: int) -> Costs:
    """Tables that are searched and added: there is no matrix product, so a token takes no FLOPs."""
    parts = [Part("order 1", (_table(config.vocabulary_size),))]
    for order, (contexts, continuations) in enumerate(config.sizes, start=2):
        # One row more for the contexts that were never seen: see `kneser_ney.Level`.
        keys = _table(contexts + 1, _INT64_BYTES)
        offsets = _table(contexts + 2, _INT64_BYTES)
        tables = (keys, offsets, _table(contexts + 1), _table(continuations), _table(continuations))
        parts.append(Part(f"order {order}", tables))
    return Costs(tuple(parts), cache=config.order - 1)


def _table(size: int, element_bytes: int = FLOAT32_BYTES) -> Weight:
    return Weight((size,), trained=False, element_bytes=element_bytes)
