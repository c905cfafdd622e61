"""What a model costs, from its configuration alone. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_textgen.config import Config
from tf_textgen.errors import UserError
from tf_textgen.models.cost_parts import Costs, Part
from tf_textgen.models.ngram_config import NGramConfig
from tf_textgen.models.ngram_costs import ngram_costs
from tf_textgen.models.rnn_costs import rnn_lm_costs, rnn_seq2seq_costs
from tf_textgen.models.rnn_lm_config import RNNLMConfig
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig
from tf_textgen.models.transformer_costs import transformer_lm_costs, transformer_seq2seq_costs
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig

# Configuration -> function of it and the lengths of source and target in tokens.
_FORMULAS: dict[type[Config], Any] = {
    NGramConfig: lambda config, source, target: ngram_costs(config),
    RNNLMConfig: lambda config, source, target: rnn_lm_costs(config),
    RNNSeq2SeqConfig: lambda config, source, target: rnn_seq2seq_costs(config, source),
    TransformerLMConfig: lambda config, source, target: transformer_lm_costs(config, target),
    TransformerSeq2SeqConfig: transformer_seq2seq_costs,
}


def costs(config: Config, *, source_tokens: int, target_tokens: int) -> Costs:
    """The costs of the model that `config` describes.

    Args:
      config: of any family.
      source_tokens: length of the sources; language models have none.
      target_tokens: the context that attention looks at; causal products are made whole, so
        training takes it too.

    Raises:
      UserError: a family without formulas.
    """
    if type(config) not in _FORMULAS:
        raise UserError(
            f"costs of {type(config).__name__}: expected a configuration of a model family"
        )
    return _FORMULAS[type(config)](config, source_tokens, target_tokens)


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
