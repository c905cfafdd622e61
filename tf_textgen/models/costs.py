"""What a model costs, from its configuration alone. Imports no TensorFlow."""

from __future__ import annotations

from typing import Any

from tf_textgen.config import Config
from tf_textgen.errors import UserError
from tf_textgen.models.cost_parts import Costs
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
      target_tokens: the context that attention looks at; causal products are made whole, so training takes it too.

    Raises:
      UserError: a family without formulas.
    """
    if type(config) not in _FORMULAS:
        raise UserError(f"costs of {type(config).__name__}: expected a configuration of a model family")
    return _FORMULAS[type(config)](config, source_tokens, target_tokens)
