"""The model families, all on one contract (`base`). Importing this does not import TensorFlow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from tf_textgen.config import did_you_mean
from tf_textgen.errors import UserError
from tf_textgen.models.model_config import ModelConfig
from tf_textgen.models.ngram_config import NGramConfig
from tf_textgen.models.rnn_lm_config import RNNLMConfig
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig

if TYPE_CHECKING:
    from tf_textgen.models.base import TextModel
    from tf_textgen.models.cost_parts import Costs

_MODULES = "tf_textgen.models"


class Family(NamedTuple):
    """A model family.

    Attributes:
      config_class: its configuration, which declares what is known of it without TensorFlow.
      model_path: its class as `module:class` of this package, because importing that imports
        TensorFlow.
      costs_path: the function of its configuration, and of the lengths of source and target in
        tokens, that returns its `Costs`, as `module:function`.
    """

    config_class: type[ModelConfig]
    model_path: str
    costs_path: str

    @property
    def kind(self) -> str:
        """As `ModelConfig.kind`."""
        return self.config_class.kind

    @property
    def trained_by(self) -> str:
        """As `ModelConfig.trained_by`."""
        return self.config_class.trained_by

    def model_class(self) -> type[TextModel]:
        """Imports the class of the model."""
        return _imported(f"{_MODULES}.{self.model_path}")

    def costs_of(self, config: ModelConfig, source_tokens: int, target_tokens: int) -> Costs:
        """Returns the costs of a model of the family."""
        return _imported(f"{_MODULES}.{self.costs_path}")(config, source_tokens, target_tokens)


def _imported(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


MODELS = {
    "ngram": Family(NGramConfig, "ngram:NGramLM", "ngram_costs:ngram_costs"),
    "rnn_lm": Family(RNNLMConfig, "rnn_lm:RNNLM", "rnn_costs:rnn_lm_costs"),
    "rnn_seq2seq": Family(
        RNNSeq2SeqConfig, "rnn_seq2seq:RNNSeq2Seq", "rnn_costs:rnn_seq2seq_costs"
    ),
    "transformer_lm": Family(
        TransformerLMConfig,
        "transformer_lm:TransformerLM",
        "transformer_costs:transformer_lm_costs",
    ),
    "transformer_seq2seq": Family(
        TransformerSeq2SeqConfig,
        "transformer_seq2seq:TransformerSeq2Seq",
        "transformer_costs:transformer_seq2seq_costs",
    ),
}


def family(name: str) -> Family:
    """Returns the family of a name.

    Raises:
      UserError: if there is none.
    """
    if name not in MODELS:
        listed = ", ".join(MODELS)
        raise UserError(f"--model={name}: expected one of {listed}{did_you_mean(name, MODELS)}")
    return MODELS[name]


def model_kind(name: str) -> str:
    """Returns the `ModelConfig.kind` of a family's name."""
    return family(name).kind
