"""The model families, all on one contract (`base`). Importing this does not import TensorFlow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from tf_textgen.config import Config, did_you_mean
from tf_textgen.errors import UserError
from tf_textgen.models.ngram_config import NGramConfig
from tf_textgen.models.rnn_lm_config import RNNLMConfig
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig

if TYPE_CHECKING:
    from tf_textgen.models.base import TextModel


class Family(NamedTuple):
    """A model's configuration, and where its class lives, as `module:class`: importing that takes
    TensorFlow.

    `kind` is "language_model" (continues a text) or "encoder_decoder" (reads a source, writes a
    target). `trained_by` is "gradients" (steps of an optimizer, within a budget) or "counting" (one
    pass over the data, which also decides the model's size). `carries_state` says whether one batch
    can hand its state to the next (`TextModel.call_carried`).
    """

    config_class: type[Config]
    model_path: str
    kind: str = "language_model"
    trained_by: str = "gradients"
    carries_state: bool = False

    def model_class(self) -> type[TextModel]:
        module, name = self.model_path.split(":")
        return getattr(importlib.import_module(module), name)


MODELS = {
    "ngram": Family(NGramConfig, "tf_textgen.models.ngram:NGramLM", trained_by="counting"),
    "rnn_lm": Family(RNNLMConfig, "tf_textgen.models.rnn_lm:RNNLM", carries_state=True),
    "rnn_seq2seq": Family(
        RNNSeq2SeqConfig, "tf_textgen.models.rnn_seq2seq:RNNSeq2Seq", "encoder_decoder"
    ),
    "transformer_lm": Family(TransformerLMConfig, "tf_textgen.models.transformer_lm:TransformerLM"),
    "transformer_seq2seq": Family(
        TransformerSeq2SeqConfig,
        "tf_textgen.models.transformer_seq2seq:TransformerSeq2Seq",
        "encoder_decoder",
    ),
}


def family(name: str) -> Family:
    """The family of this name; an unknown name raises `UserError`."""
    if name not in MODELS:
        raise UserError(
            f"--model={name}: expected one of {', '.join(MODELS)}{did_you_mean(name, MODELS)}"
        )
    return MODELS[name]


def model_kind(name: str) -> str:
    """Says "language_model" (continues a text) or "encoder_decoder" (reads a source, writes a
    target).
    """
    return family(name).kind
