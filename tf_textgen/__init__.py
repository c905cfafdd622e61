"""tf_textgen: train, judge, try and serve text generators with TensorFlow.

Shapes in docstrings use one letter for each dimension:
  `B` batch, `S` source length, `T` target length, `P` padded prompt length, `D` width, `N` heads,
  `H` head width, `V` vocabulary, `W` beam width, `L` layers.
"""

from __future__ import annotations

import importlib
from typing import Any

# The module of each public name. They are imported on first use: `import tf_textgen` alone does not
# take the seconds that importing TensorFlow does.
_HOMES = {
    "Client": "tf_textgen.client.rest_client",
    "Completion": "tf_textgen.client.rest_client",
    "Config": "tf_textgen.config",
    "Continuation": "tf_textgen.generator",
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
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tf_textgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
