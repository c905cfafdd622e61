"""The recurrent encoder-decoder, with and without attention.

Reference: Sutskever, Vinyals and Le 2014 (arXiv:1409.3215); Bahdanau, Cho and Bengio 2015
(arXiv:1409.0473); Luong, Pham and Manning 2015 (arXiv:1508.04025).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.layers.input_feeding import InputFeedingDecoder
from tf_textgen.layers.projection import Projection, fold_seed
from tf_textgen.layers.recurrent import Bidirectional, Recurrent, RecurrentState
from tf_textgen.layers.recurrent_attention import AttentionMemory, AttentiveRecurrent, Memory
from tf_textgen.layers.recurrent_bridge import RecurrentBridge
from tf_textgen.layers.recurrent_readout import RecurrentReadout
from tf_textgen.models.base import Features, State, TextModel, pair_feature
from tf_textgen.models.rnn_seq2seq_config import RNNSeq2SeqConfig


@keras.saving.register_keras_serializable("tf_textgen")
class RNNSeq2Seq(TextModel):
    """Recurrent layers read the source, others write the target, looking back at the source.

    The state of decoding is the decoder's recurrent states (`per_step`, float32 under mixed
    bfloat16 too) and the encoder's memory with its projected keys (`per_source`, empty without
    attention). Padding of sources and prompts
    never changes a result. `capacity` is not used: a recurrent state does not grow.
    """

    config_class = RNNSeq2SeqConfig
    config: RNNSeq2SeqConfig

    def __init__(self, config: RNNSeq2SeqConfig, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(config, seed=seed, **kwargs)
        source_vocabulary = config.source_vocabulary_size or config.vocabulary_size
        self.target_embedding = self._embedding("target_embedding", config.vocabulary_size)
        self.source_embedding = self.target_embedding
        if not config.shared_embeddings:
            self.source_embedding = self._embedding("source_embedding", source_vocabulary)
        self.encoder = Encoder(config, **self._shared("encoder"))
        self.bridge = RecurrentBridge(
            config.bridge,
            config.width,
            config.decoder_layers,
            cell=config.cell,
            **self._shared("bridge"),
        )
        self.memory = None
        if config.attention != "none":
            self.memory = AttentionMemory(config.attention, config.width, **self._shared("memory"))
        width = config.embedding_width if config.tied_embeddings else config.width
        self.decoder: Decoder | InputFeedingDecoder
        if config.input_feeding:
            self.decoder = self._input_feeding_decoder(width)
        else:
            self.decoder = Decoder(config, **self._shared("decoder"))
        # A decoder with input feeding gives out the vectors themselves.
        attention = "none" if config.input_feeding else config.attention
        self.readout = RecurrentReadout(attention, width, **self._shared("readout"))
        self.output_projection = None
        if not config.tied_embeddings:
            self.output_projection = Projection(
                width,
                config.vocabulary_size,
                stddev=width**-0.5,
                **self._shared("output_projection"),
            )
        self.source_dropout, self.target_dropout, self.output_dropout = (
            Dropout(config.dropout, **self._shared(name))
            for name in ("source_dropout", "target_dropout", "output_dropout")
        )

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        states, memory = self._encode(features, training)
        tokens = pair_feature(features, "target_tokens")
        embedded = self.target_dropout(self.target_embedding(tokens), training=training)
        hidden, contexts, _ = self._decode(embedded, states, memory, training=training)
        return self._logits(hidden, embedded, contexts, memory, training)

    def start(self, features: Features, capacity: tf.Tensor | int) -> tuple[tf.Tensor, State]:
        states, memory = self._encode(features, training=False)
        tokens = pair_feature(features, "target_tokens")
        lengths = pair_feature(features, "target_lengths")
        places = tf.shape(tokens)[1]
        padding_mask = tf.range(places)[None] >= places - lengths[:, None]
        return self._advance(tokens, State(states, () if memory is None else memory), padding_mask)

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        return self._advance(tokens[:, None], state, None)

    def embeddings(self) -> dict[str, TokenEmbedding]:
        return {"source": self.source_embedding, "target": self.target_embedding}

    def example_features(self) -> dict[str, tf.Tensor]:
        tokens = tf.fill([1, 1], self.config.pad_id)
        return {
            "source_tokens": tokens,
            "source_lengths": tf.ones([1], tf.int32),
            "target_tokens": tokens,
        }

    def hidden(self, features: Features) -> tf.Tensor:
        return self._read_source(features, training=False)[0]

    def _encode(
        self, features: Features, training: bool
    ) -> tuple[tuple[RecurrentState, ...], Memory | None]:
        """The decoder's first states, and the memory of the source if there is attention."""
        values, states, padding_mask = self._read_source(features, training)
        states = self.bridge(states)
        if isinstance(self.decoder, InputFeedingDecoder):
            states = self.decoder.begin(states)
        return states, None if self.memory is None else self.memory(
            values, padding_mask=padding_mask
        )

    def _read_source(
        self, features: Features, training: bool
    ) -> tuple[tf.Tensor, tuple[RecurrentState, ...], tf.Tensor]:
        """The encoder's outputs `[B, S, M]`, its last states, and `[B, S]` bool if there is no
        padding.
        """
        tokens = pair_feature(features, "source_tokens")
        lengths = pair_feature(features, "source_lengths")
        padding_mask = tf.sequence_mask(lengths, tf.shape(tokens)[1])
        embedded = self.source_dropout(self.source_embedding(tokens), training=training)
        return *self.encoder(embedded, padding_mask=padding_mask, training=training), padding_mask

    def _decode(
        self,
        embedded: tf.Tensor,
        states: tuple[RecurrentState, ...],
        memory: Memory | None,
        padding_mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None, tuple[RecurrentState, ...]]:
        """Returns the result of `Decoder.call`, of either decoder."""
        if isinstance(self.decoder, InputFeedingDecoder):
            vectors, states = self.decoder(
                embedded, memory, states=states, padding_mask=padding_mask, training=training
            )
            return vectors, None, states
        return self.decoder(
            embedded, states=states, memory=memory, padding_mask=padding_mask, training=training
        )

    def _advance(
        self, tokens: tf.Tensor, state: State, padding_mask: tf.Tensor | None
    ) -> tuple[tf.Tensor, State]:
        """Reads tokens `[B, T]`: logits `[B, V]` after the last one and the new state."""
        memory = state.per_source or None
        embedded = self.target_embedding(tokens)
        hidden, contexts, states = self._decode(embedded, state.per_step, memory, padding_mask)
        contexts = None if contexts is None else contexts[:, -1:]
        logits = self._logits(hidden[:, -1:], embedded[:, -1:], contexts, memory, training=False)
        return logits[:, 0], State(states, state.per_source)

    def _logits(
        self,
        hidden: tf.Tensor,
        embedded: tf.Tensor,
        contexts: tf.Tensor | None,
        memory: Memory | None,
        training: bool,
    ) -> tf.Tensor:
        vectors = self.readout(hidden, embedded=embedded, contexts=contexts, memory=memory)
        vectors = self.output_dropout(vectors, training=training)
        if self.output_projection is None:
            return self.target_embedding(vectors, reverse=True)
        return tf.cast(self.output_projection(vectors), tf.float32)

    def _input_feeding_decoder(self, vector_width: int) -> InputFeedingDecoder:
        config = self.config
        return InputFeedingDecoder(
            config.width,
            config.decoder_layers,
            vector_width,
            cell=config.cell,
            scale=config.width**-0.5 if config.attention == "luong_scaled" else 1.0,
            dropout=config.dropout,
            residual=config.residual,
            **self._shared("decoder"),
        )

    def _embedding(self, name: str, vocabulary_size: int) -> TokenEmbedding:
        width = self.config.embedding_width
        return TokenEmbedding(vocabulary_size, width, stddev=width**-0.5, **self._shared(name))

    def _shared(self, name: str) -> dict[str, Any]:
        return {"name": name, "seed": fold_seed(self.seed, name), "dtype": self.dtype_policy}


class Encoder(keras.layers.Layer):
    """Stacked recurrent layers over the source, each in one direction or both."""

    def __init__(self, config: RNNSeq2SeqConfig, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        kind = Bidirectional if config.bidirectional else Recurrent
        names = [f"layer_{i}" for i in range(config.encoder_layers)]
        self.stack = [
            kind(
                config.memory_width,
                cell=config.cell,
                seed=fold_seed(seed, name),
                name=name,
                dtype=self.dtype_policy,
            )
            for name in names
        ]
        self.dropouts = _dropouts(self, config.dropout, config.encoder_layers - 1, seed)
        self.residual = config.residual

    def call(
        self, inputs: tf.Tensor, padding_mask: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tuple[RecurrentState, ...]]:
        """The top layer's outputs `[B, S, M]` and the last state of every layer, from
        `[B, S, E]`.
        """
        outputs = inputs
        states = []
        for i, layer in enumerate(self.stack):
            below = self.dropouts[i - 1](outputs, training=training) if i else outputs
            hidden, state = layer(below, padding_mask=padding_mask)
            outputs = outputs + hidden if self.residual and i else hidden
            states.append(state)
        return outputs, tuple(states)


class Decoder(keras.layers.Layer):
    """Stacked recurrent layers over the target.

    With bahdanau attention the bottom layer looks at the memory and all layers above read its
    contexts next to the outputs of the layer below (Wu et al. 2016, section 3), so that only one
    layer has attention in its loop.
    """

    def __init__(self, config: RNNSeq2SeqConfig, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.attentive = config.attention == "bahdanau"
        self.stack: list[Recurrent] = []
        for i in range(config.decoder_layers):
            kind = AttentiveRecurrent if self.attentive and i == 0 else Recurrent
            shared = {
                "seed": fold_seed(seed, f"layer_{i}"),
                "name": f"layer_{i}",
                "dtype": self.dtype_policy,
            }
            self.stack.append(kind(config.width, cell=config.cell, **shared))
        self.dropouts = _dropouts(self, config.dropout, config.decoder_layers - 1, seed)
        self.residual = config.residual

    def call(
        self,
        inputs: tf.Tensor,
        states: tuple[RecurrentState, ...],
        memory: Memory | None = None,
        padding_mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor | None, tuple[RecurrentState, ...]]:
        """Runs over `[B, T, E]` from the states of all layers.

        Returns:
          the top layer's outputs `[B, T, D]`; with bahdanau attention the contexts `[B, T, M]`; the
          last states.
        """
        contexts = None
        if self.attentive:
            outputs, contexts, state = self.stack[0](
                inputs, memory, initial_state=states[0], padding_mask=padding_mask
            )
        else:
            outputs, state = self.stack[0](
                inputs, initial_state=states[0], padding_mask=padding_mask
            )
        last = [state]
        for layer, dropout, first in zip(self.stack[1:], self.dropouts, states[1:], strict=True):
            below = outputs if contexts is None else tf.concat([outputs, contexts], axis=-1)
            hidden, state = layer(
                dropout(below, training=training), initial_state=first, padding_mask=padding_mask
            )
            outputs = outputs + hidden if self.residual else hidden
            last.append(state)
        return outputs, contexts, tuple(last)


def _dropouts(
    layer: keras.layers.Layer, rate: float, count: int, seed: int | None
) -> list[Dropout]:
    names = [f"dropout_{i}" for i in range(count)]
    return [
        Dropout(rate, seed=fold_seed(seed, name), name=name, dtype=layer.dtype_policy)
        for name in names
    ]
