"""One row a model: what every family must do, `tests/conformance/*_test.py` ask of each row.

A new family is a row in `CASES`: a name, its key in `MODELS`, the fields of its configuration, and
what it cannot do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tests.support.thorough import cases
from tf_textgen.config import Config
from tf_textgen.models import family
from tf_textgen.models.base import Features, TextModel
from tf_textgen.models.kneser_ney import Estimate, estimate
from tf_textgen.models.ngram_counts import NGramCounts

V = 13  # tokens; 0 is padding
BOS = 1


def random_weights(model: TextModel) -> None:
    """Small weights, but so large that each of them counts, biases too."""
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        mean = 1.0 if weight.path.endswith("scale") else 0.0
        weight.assign(rng.normal(mean, 0.3, weight.shape))


class Case(NamedTuple):
    """A model with a small configuration.

    Attributes:
      name: of the row.
      family: key of `MODELS`; its kind says whether the model reads `source_tokens` and
        `source_lengths`.
      fields: of the configuration next to the vocabulary.
      set_weights: gives a built model weights that count.
      learns: whether it has weights that gradients train.
      copying: fields of the configuration that learns to copy, if `fields` will not do.
      copying_steps, copying_rate: updates and learning rate in which it must have learned that.
      bfloat16_tolerance: largest difference of a logit under mixed bfloat16.
    """

    name: str
    family: str
    fields: Mapping[str, Any]
    set_weights: Callable[[TextModel], None] = random_weights
    learns: bool = True
    copying: Mapping[str, Any] = {}
    copying_steps: int = 80
    copying_rate: float = 1e-2
    bfloat16_tolerance: float = 0.2

    @property
    def reads_source(self) -> bool:
        return family(self.family).kind == "encoder_decoder"

    def config(self, **fields: Any) -> Config:
        return family(self.family).config_class(**{"vocabulary_size": V, **self.fields, **fields})


_TRANSFORMER = {
    "num_heads": 4,
    "width": 16,
    "max_positions": 16,
    "dropout": 0.1,
    "attention_dropout": 0.1,
}
_MODERN = {
    "positions": "rotary",
    "normalization": "rms_norm",
    "activation": "swiglu",
    "num_kv_heads": 2,
}
_LAYERS = {"encoder_layers": 1, "decoder_layers": 2}
_RNN = {"width": 8, "embedding_width": 6, "dropout": 0.1, **_LAYERS}
_ONE_VECTOR = {"attention": "none", "bidirectional": False, **_RNN}
_GRU_FEEDING = {
    "attention": "luong_scaled",
    "cell": "gru",
    "input_feeding": True,
    "residual": True,
    **_RNN,
}
_RNN_LM = {"width": 8, "embedding_width": 6, "dropout": 0.1, "recurrent_dropout": 0.1}
_GRU_LM = {"width": 8, "cell": "gru", "layer_norm": True, "residual": True, "dropout": 0.1}
_OWN_VOCABULARY = {"shared_embeddings": False, "source_vocabulary_size": 9}

# Learning to copy takes one layer, no dropout, and seconds.
_LEARNS_LM = {"num_layers": 1, "attention_dropout": 0.0}
_LEARNS_SEQ2SEQ = {"decoder_layers": 1, "attention_dropout": 0.0}
_LEARNS_RNN = {"decoder_layers": 1, "embedding_width": 16, "bidirectional": False}
_LEARNS_RNN_LM = {"num_layers": 1, "residual": False, "recurrent_dropout": 0.0}


@functools.cache
def _counted() -> Estimate:
    """Trigrams of random rows `<s> ... </s>`."""
    rng = np.random.default_rng(0)
    tokens = np.concatenate(
        [np.concatenate([[BOS], rng.integers(2, V, 9), [2]]) for _ in range(30)]
    )
    counts = NGramCounts(3, V, BOS)
    counts.add(tokens, tokens != BOS)
    return estimate(counts.table(), V, (0, BOS))


def _sizes(found: Estimate) -> dict[str, Any]:
    contexts = tuple(len(level.back_offs) - 1 for level in found.levels)
    return {
        "order": 3,
        "contexts": contexts,
        "continuations": tuple(len(level.tokens) for level in found.levels),
    }


CASES = {
    case.name: case
    for case in (
        Case("gpt2", "transformer_lm", {"num_layers": 2, **_TRANSFORMER}, copying=_LEARNS_LM),
        Case(
            "transformer_lm",
            "transformer_lm",
            {"num_layers": 2, **_TRANSFORMER, **_MODERN},
            copying=_LEARNS_LM,
        ),
        Case(
            "luong",
            "rnn_seq2seq",
            {"attention": "luong_general", **_RNN},
            copying=_LEARNS_RNN,
            copying_rate=3e-2,
        ),
        Case(
            "bahdanau",
            "rnn_seq2seq",
            {"attention": "bahdanau", **_RNN},
            copying=_LEARNS_RNN,
            copying_rate=3e-2,
        ),
        Case("one_vector", "rnn_seq2seq", _ONE_VECTOR, copying=_LEARNS_RNN, copying_rate=3e-2),
        Case(
            "gru_feeding",
            "rnn_seq2seq",
            _GRU_FEEDING,
            copying={**_LEARNS_RNN, "residual": False},
            copying_rate=3e-2,
        ),
        Case(
            "ngram",
            "ngram",
            _sizes(_counted()),
            set_weights=lambda model: model.assign(_counted()),
            learns=False,
        ),
        Case(
            "rnn_lm",
            "rnn_lm",
            _RNN_LM,
            copying=_LEARNS_RNN_LM,
            copying_rate=2e-2,
            copying_steps=200,
        ),
        Case(
            "rnn_lm_gru",
            "rnn_lm",
            _GRU_LM,
            copying=_LEARNS_RNN_LM,
            copying_rate=2e-2,
            copying_steps=200,
        ),
        Case(
            "vaswani",
            "transformer_seq2seq",
            {"norm_placement": "post", **_LAYERS, **_TRANSFORMER},
            copying=_LEARNS_SEQ2SEQ,
        ),
        Case(
            "transformer_seq2seq",
            "transformer_seq2seq",
            {**_LAYERS, **_TRANSFORMER, **_MODERN, **_OWN_VOCABULARY},
            copying=_LEARNS_SEQ2SEQ,
        ),
    )
}

LEARNING = [name for name, case in CASES.items() if case.learns]
READERS = [name for name, case in CASES.items() if case.reads_source]
ONE_EACH = ("gpt2", "luong", "ngram", "rnn_lm", "transformer_seq2seq")


def often(names: Iterable[str]) -> list[Any]:
    """Parameters of a test that takes its time: one of these rows for each family, the others by
    `--thorough`.
    """
    names = list(names)
    return cases(names, always=[name for name in names if name in ONE_EACH])


def build(case: Case, dtype: str | None = None, **fields: Any) -> TextModel:
    """A model of this row as it is before training."""
    return (
        family(case.family).model_class()(case.config(**fields), seed=1, dtype=dtype).initialize()
    )


def make(case: Case, dtype: str | None = None) -> TextModel:
    """A model of this row; each call makes another with the same weights."""
    model = build(case, dtype)
    case.set_weights(model)
    return model


class Decoding:
    """A model, and the contract's methods as graphs for all shapes: traced once, shared by the
    tests of one row.
    """

    def __init__(self, case: Case) -> None:
        self.model = make(case)
        ids, counts = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        source = {"source_tokens": ids, "source_lengths": counts} if case.reads_source else {}
        self.whole = tf.function(
            self._whole, input_signature=[{**source, "target_tokens": ids}], autograph=False
        )
        prompts = {**source, "target_tokens": ids, "target_lengths": counts}
        self.stepwise = tf.function(
            self._stepwise,
            input_signature=[prompts, ids, tf.TensorSpec([], tf.int32)],
            autograph=False,
        )

    def exportable(self) -> tf.Module:
        """The same graphs with the weights they read."""
        module = tf.Module()
        module.weights = [variable.value for variable in self.model.variables]
        module.whole, module.stepwise = (
            self.whole.get_concrete_function(),
            self.stepwise.get_concrete_function(),
        )
        return module

    def _whole(self, features: Features) -> tf.Tensor:
        return self.model(features)

    def _stepwise(self, prompts: Features, tokens: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
        """Logits `[B, K + 1, V]` behind the prompts and each of `tokens` `[B, K]`; `room` more
        slots stay empty.
        """
        count = tf.shape(tokens)[1]
        capacity = tf.shape(prompts["target_tokens"])[1] + count + room
        logits, state = self.model.start(prompts, capacity)
        found = tf.TensorArray(tf.float32, count + 1, element_shape=logits.shape).write(0, logits)

        def body(step: tf.Tensor, state: Any, found: tf.TensorArray) -> Any:
            logits, state = self.model.step(tokens[:, step], state)
            return step + 1, state, found.write(step + 1, logits)

        *_, found = tf.while_loop(
            lambda step, *_: step < count, body, (tf.constant(0), state, found)
        )
        return tf.transpose(found.stack(), [1, 0, 2])


@functools.cache
def decoding(name: str) -> Decoding:
    """The graphs of a row; their weights are left alone."""
    return Decoding(CASES[name])


def draw(
    case: Case, source_lengths: tuple[int, ...] = (3, 1, 5), target_length: int = 6
) -> dict[str, np.ndarray]:
    """Features of `call`, int32: random tokens, sources right-padded."""
    rng = np.random.default_rng(0)
    rows, places = len(source_lengths), max(source_lengths)
    features = {"target_tokens": rng.integers(1, V, (rows, target_length))}
    if case.reads_source:
        tokens = rng.integers(1, 9, (rows, places))
        features["source_tokens"] = tokens * (np.arange(places) < np.array(source_lengths)[:, None])
        features["source_lengths"] = np.array(source_lengths)
    return {name: value.astype(np.int32) for name, value in features.items()}
