"""tf_textgen: train, evaluate, try and serve text generators with TensorFlow.

Shapes in docstrings use one letter for each dimension:
  `B` batch, `S` source length, `T` target length, `P` padded prompt length, `D` width, `N` heads,
  `H` head width, `V` vocabulary, `W` beam width, `L` layers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public names for type checkers and editors, which read `as` as a declaration.
if TYPE_CHECKING:
    from tf_textgen.client.rest_client import Client as Client
    from tf_textgen.client.rest_client import Completion as Completion
    from tf_textgen.config import Config as Config
    from tf_textgen.data.corpora import resolve_corpus as resolve_corpus
    from tf_textgen.data.corpora import with_corpus as with_corpus
    from tf_textgen.data.data_config import DataConfig as DataConfig
    from tf_textgen.data.dataset import evaluation_batches as evaluation_batches
    from tf_textgen.data.dataset import open_corpus as open_corpus
    from tf_textgen.data.dataset import steps_per_epoch as steps_per_epoch
    from tf_textgen.data.dataset import training_batches as training_batches
    from tf_textgen.data.sources import training_texts as training_texts
    from tf_textgen.decoding.continuation import Continuation as Continuation
    from tf_textgen.decoding.decoding_config import DecodingConfig as DecodingConfig
    from tf_textgen.errors import UserError as UserError
    from tf_textgen.export.exported import Exported as Exported
    from tf_textgen.export.saved_model import export_saved_model as export_saved_model
    from tf_textgen.generator import TextGenerator as TextGenerator
    from tf_textgen.models import MODELS as MODELS
    from tf_textgen.models.base import TextModel as TextModel
    from tf_textgen.models.ngram import NGramLM as NGramLM
    from tf_textgen.models.ngram_config import NGramConfig as NGramConfig
    from tf_textgen.models.rnn_lm import RNNLM as RNNLM
    from tf_textgen.models.rnn_lm_config import RNNLMConfig as RNNLMConfig
    from tf_textgen.models.rnn_seq2seq import RNNSeq2Seq as RNNSeq2Seq
    from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig as RNNSeq2SeqConfig
    from tf_textgen.models.transformer_lm import TransformerLM as TransformerLM
    from tf_textgen.models.transformer_lm_config import TransformerLMConfig as TransformerLMConfig
    from tf_textgen.models.transformer_seq2seq import TransformerSeq2Seq as TransformerSeq2Seq
    from tf_textgen.models.transformer_seq2seq_config import (
        TransformerSeq2SeqConfig as TransformerSeq2SeqConfig,
    )
    from tf_textgen.optimizers.optimizer_config import OptimizerConfig as OptimizerConfig
    from tf_textgen.optimizers.optimizers import make_optimizer as make_optimizer
    from tf_textgen.runs.run_config import RunConfig as RunConfig
    from tf_textgen.runs.run_folder import load_run as load_run
    from tf_textgen.text import load_tokenizer as load_tokenizer
    from tf_textgen.text.tokenizer import Tokenizer as Tokenizer
    from tf_textgen.text.tokenizer_config import TokenizerConfig as TokenizerConfig
    from tf_textgen.text.vocabulary import build_tokenizer as build_tokenizer

# The same names at run time. They are imported on first use, because `import tf_textgen` would
# otherwise take the seconds that importing TensorFlow takes.
_MODULES = {
    "Client": "tf_textgen.client.rest_client",
    "Completion": "tf_textgen.client.rest_client",
    "Config": "tf_textgen.config",
    "Continuation": "tf_textgen.decoding.continuation",
    "DataConfig": "tf_textgen.data.data_config",
    "DecodingConfig": "tf_textgen.decoding.decoding_config",
    "Exported": "tf_textgen.export.exported",
    "MODELS": "tf_textgen.models",
    "NGramConfig": "tf_textgen.models.ngram_config",
    "NGramLM": "tf_textgen.models.ngram",
    "OptimizerConfig": "tf_textgen.optimizers.optimizer_config",
    "RNNLM": "tf_textgen.models.rnn_lm",
    "RNNLMConfig": "tf_textgen.models.rnn_lm_config",
    "RNNSeq2Seq": "tf_textgen.models.rnn_seq2seq",
    "RNNSeq2SeqConfig": "tf_textgen.models.rnn_seq2seq_config",
    "RunConfig": "tf_textgen.runs.run_config",
    "TextGenerator": "tf_textgen.generator",
    "TextModel": "tf_textgen.models.base",
    "Tokenizer": "tf_textgen.text.tokenizer",
    "TokenizerConfig": "tf_textgen.text.tokenizer_config",
    "TransformerLM": "tf_textgen.models.transformer_lm",
    "TransformerLMConfig": "tf_textgen.models.transformer_lm_config",
    "TransformerSeq2Seq": "tf_textgen.models.transformer_seq2seq",
    "TransformerSeq2SeqConfig": "tf_textgen.models.transformer_seq2seq_config",
    "UserError": "tf_textgen.errors",
    "build_tokenizer": "tf_textgen.text.vocabulary",
    "evaluation_batches": "tf_textgen.data.dataset",
    "export_saved_model": "tf_textgen.export.saved_model",
    "load_run": "tf_textgen.runs.run_folder",
    "load_tokenizer": "tf_textgen.text",
    "make_optimizer": "tf_textgen.optimizers.optimizers",
    "open_corpus": "tf_textgen.data.dataset",
    "resolve_corpus": "tf_textgen.data.corpora",
    "steps_per_epoch": "tf_textgen.data.dataset",
    "training_batches": "tf_textgen.data.dataset",
    "training_texts": "tf_textgen.data.sources",
    "with_corpus": "tf_textgen.data.corpora",
}
__all__ = ["__version__", *sorted(_MODULES)]


# Not visible to type checkers, for which it would make every name valid.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'tf_textgen' has no attribute {name!r}")
        return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
