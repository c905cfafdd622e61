"""The recurrent language model.

Reference: Mikolov et al. 2010, "Recurrent neural network based language model"; with LSTM and
dropout Zaremba, Sutskever and Vinyals 2014 (arXiv:1409.2329).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.layers.projection import Projection, fold_seed
from tf_textgen.layers.recurrent import RecurrentState
from tf_textgen.layers.recurrent_stack import RecurrentStack
from tf_textgen.models.base import Features, State, TextModel
from tf_textgen.models.rnn_lm_config import RNNLMConfig


@keras.saving.register_keras_serializable("tf_textgen")
class RNNLM(TextModel):
    """The next token from a state that has read all tokens before it.

    `call` takes `target_tokens` `[B, T]` int32 and, where several documents share a row,
    `segment_ids` `[B, T]`: the state begins with zeros in each.

    The state of decoding is the layers' states (`per_step`, float32 under mixed bfloat16 too).
    Padding of prompts never
    changes it. `capacity` is not used: a recurrent state does not grow.
    """

    config_class = RNNLMConfig
    config: RNNLMConfig

    def __init__(self, config: RNNLMConfig, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(config, seed=seed, **kwargs)
        width = config.token_width
        self.embedding = TokenEmbedding(
            config.vocabulary_size, width, stddev=width**-0.5, **self._shared("embedding")
        )
        self.recurrent = RecurrentStack(
            config.width,
            config.num_layers,
            input_width=width,
            cell=config.cell,
            dropout=config.dropout,
            recurrent_dropout=config.recurrent_dropout,
            residual=config.residual,
            layer_norm=config.layer_norm,
            **self._shared("recurrent"),
        )
        self.output_projection = self.logits_projection = None
        if not config.tied_embeddings:
            self.logits_projection = self._projection(config.vocabulary_size, "logits")
        elif width != config.width:
            self.output_projection = self._projection(width, "output_projection")
        self.input_dropout, self.output_dropout = (
            Dropout(config.dropout, **self._shared(name))
            for name in ("input_dropout", "output_dropout")
        )

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        return self._read(features["target_tokens"], resets=_resets(features), training=training)[0]

    def start(self, features: Features, capacity: tf.Tensor | int) -> tuple[tf.Tensor, State]:
        tokens = features["target_tokens"]
        places = tf.shape(tokens)[1]
        padding_mask = tf.range(places) >= places - features["target_lengths"][:, tf.newaxis]
        return self._advance(tokens, None, padding_mask)

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        return self._advance(tokens[:, tf.newaxis], state.per_step)

    def hidden(self, features: Features) -> tf.Tensor:
        return self.recurrent(self.embedding(features["target_tokens"]), resets=_resets(features))[
            0
        ]

    def initial_carry(self, rows: int) -> tuple[RecurrentState, ...]:
        return self.recurrent.zero_states(rows)

    def call_carried(
        self, features: Features, carry: tuple[RecurrentState, ...], training: bool = False
    ) -> tuple[tf.Tensor, tuple[RecurrentState, ...]]:
        return self._read(
            features["target_tokens"], carry, resets=_resets(features), training=training
        )

    def embeddings(self) -> dict[str, TokenEmbedding]:
        return {"source": self.embedding, "target": self.embedding}

    def example_features(self) -> dict[str, tf.Tensor]:
        return {"target_tokens": tf.zeros([1, 1], tf.int32)}

    def _read(
        self,
        tokens: tf.Tensor,
        states: tuple[RecurrentState, ...] | None = None,
        *,
        resets: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[RecurrentState, ...]]:
        """Logits `[B, T, V]` after each of tokens `[B, T]`, and the states after the last."""
        embedded = self.input_dropout(self.embedding(tokens), training=training)
        hidden, states = self.recurrent(embedded, states=states, resets=resets, training=training)
        return self._logits(hidden, training), states

    def _advance(
        self,
        tokens: tf.Tensor,
        states: tuple[RecurrentState, ...] | None,
        padding_mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Logits `[B, V]` after the last of tokens `[B, T]`, and the state."""
        hidden, states = self.recurrent(
            self.embedding(tokens), states=states, padding_mask=padding_mask
        )
        return self._logits(hidden[:, -1]), State(states, ())

    def _logits(self, hidden: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[..., D]` --> `[..., V]` float32."""
        hidden = self.output_dropout(hidden, training=training)
        if self.logits_projection is not None:
            return tf.cast(self.logits_projection(hidden), tf.float32)
        if self.output_projection is not None:
            hidden = self.output_projection(hidden)
        return self.embedding(hidden, reverse=True)

    def _projection(self, width: int, name: str) -> Projection:
        # No bias before a tied embedding: it would be one for each token, as a bias of the logits
        # is.
        bias = not self.config.tied_embeddings
        stddev = self.config.width**-0.5
        return Projection(
            self.config.width, width, use_bias=bias, stddev=stddev, **self._shared(name)
        )

    def _shared(self, name: str) -> dict[str, Any]:
        return {"name": name, "seed": fold_seed(self.seed, name), "dtype": self.dtype_policy}


def _resets(features: Features) -> tf.Tensor | None:
    """If the state becomes zeros, `[B, T]` bool: said by the data, or where segments meet; None
    if nowhere.
    """
    if "resets" in features:
        return tf.not_equal(features["resets"], 0)
    if "segment_ids" not in features:
        return None
    segments = features["segment_ids"]
    return tf.concat(
        [tf.zeros_like(segments[:, :1], tf.bool), segments[:, 1:] != segments[:, :-1]], axis=1
    )
