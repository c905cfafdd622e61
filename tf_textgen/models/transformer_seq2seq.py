"""An encoder-decoder Transformer; with post-norm and the paper's sizes it is that of Vaswani et
al., 2017.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers import kv_cache
from tf_textgen.layers.attention import attention_bias, cached_mask, causal_mask, prompt_mask
from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.layers.kv_cache import KeyValues
from tf_textgen.layers.positions import LearnedPositions, sinusoids
from tf_textgen.layers.projection import Projection, fold_seed
from tf_textgen.models.base import Features, State, TextModel, pair_feature
from tf_textgen.models.transformer_parts import check_length, make_block, make_norm, make_rotation
from tf_textgen.models.transformer_seq2seq_config import TransformerSeq2SeqConfig


@keras.saving.register_keras_serializable(package="tf_textgen")
class TransformerSeq2Seq(TextModel):
    """The next token of the target from all target tokens before it and the whole source.

    `call` takes `source_tokens` `[B, S]` and `target_tokens` `[B, T]` int32, both right-padded, and
    `source_lengths` `[B]`. The padding of a source is hidden from encoder and decoder, so it never
    changes a result.

    The state of `start` and `step`: `per_step` holds the decoder's caches and `slot` `[B]`, the one
    all rows write next; `per_source` holds `padding` `[B]`, the number of slots left of the prompt,
    and of the source `padding_mask` `[B, S]` and `memory`, the keys and values of each block's
    cross-attention, projected once. Rotary positions turn
    self-attention only: distances between places of two languages mean nothing.

    Matrices start as Glorot and Bengio (2010) have it, as in the paper's own code (keys, values and
    queries are one matrix there too), embeddings with variance 1 / width, which the factor of
    section 3.4 brings to 1.

    Reference:
      Vaswani et al., "Attention Is All You Need", 2017.
    """

    config_class = TransformerSeq2SeqConfig
    config: TransformerSeq2SeqConfig

    def __init__(
        self, config: TransformerSeq2SeqConfig, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(config, seed=seed, **kwargs)
        self.target_embedding = self._embedding("target_embedding", config.vocabulary_size)
        self.source_embedding = self.target_embedding
        if not config.shared_embeddings:
            self.source_embedding = self._embedding("source_embedding", config.source_vocabulary)
        self.encoder = TransformerStack(config, config.encoder_layers, **self._shared("encoder"))
        self.decoder = TransformerStack(
            config, config.decoder_layers, reads_source=True, **self._shared("decoder")
        )
        self.output_projection = self.logits_projection = None
        if not config.tied_embeddings:
            self.logits_projection = self._projection("logits", config.vocabulary_size)
        elif config.token_width != config.width:
            self.output_projection = self._projection("output_projection", config.token_width)

    def build(self, input_shape: Any = None) -> None:
        """Makes all weights; the shapes given to the layers are what `summary` shows."""
        self.target_embedding.build((None, None))
        if self.source_embedding is not self.target_embedding:
            self.source_embedding.build((None, None))
        embedded = (None, None, self.config.token_width)
        hidden = (None, None, self.config.width)
        for layer, shape in (
            (self.encoder, embedded),
            (self.decoder, embedded),
            (self.output_projection, hidden),
            (self.logits_projection, hidden),
        ):
            if layer is not None:
                layer.build(shape)

    def embeddings(self) -> dict[str, TokenEmbedding]:
        return {"source": self.source_embedding, "target": self.target_embedding}

    def example_features(self) -> dict[str, tf.Tensor]:
        tokens = tf.fill([1, 1], self.config.pad_id)
        return {
            "source_tokens": tokens,
            "source_lengths": tf.ones([1], tf.int32),
            "target_tokens": tokens,
        }

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        tokens = pair_feature(features, "target_tokens")
        check_length(self.config, tokens)
        source = self._encode(features, training)
        length = tf.shape(tokens)[1]
        positions = tf.zeros_like(tokens) + tf.range(length)
        hidden, _ = self._decode(tokens, positions, causal_mask(length), source, training=training)
        return self._logits(hidden)

    def start(self, features: Features, capacity: tf.Tensor | int) -> tuple[tf.Tensor, State]:
        tokens = pair_feature(features, "target_tokens")
        lengths = pair_feature(features, "target_lengths")
        source = self._encode(features)
        length = tf.shape(tokens)[1]
        padding = length - lengths
        positions = tf.range(length) - padding[:, tf.newaxis]
        hidden, caches = self._decode(tokens, positions, prompt_mask(length, padding), source)
        caches = tuple(kv_cache.reserve(cache, capacity) for cache in caches)
        state = State(
            {"caches": caches, "slot": tf.zeros_like(padding) + length},
            {**source, "padding": padding},
        )
        return self._logits(hidden[:, -1]), state

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        caches = state.per_step["caches"]
        slots = state.per_step["slot"]
        padding = state.per_source["padding"]
        slot = tf.reduce_sum(slots[:1])  # the same in all rows; 0 in a batch of none
        positions = (slots - padding)[:, tf.newaxis]
        mask = cached_mask(caches[0], slot, padding)
        hidden, caches = self._decode(
            tokens[:, tf.newaxis], positions, mask, state.per_source, caches, slot
        )
        return self._logits(hidden[:, 0]), State(
            {"caches": caches, "slot": slots + 1}, state.per_source
        )

    def hidden(self, features: Features) -> tf.Tensor:
        return self._read_source(features)[0]

    def _encode(self, features: Features, training: bool = False) -> dict[str, Any]:
        """The source as decoding reads it: `padding_mask` `[B, S]` bool, and `memory`, keys and
        values of each block.
        """
        encoded, padding_mask = self._read_source(features, training)
        return {
            "padding_mask": padding_mask,
            "memory": tuple(
                block.cross_attention.project(encoded) for block in self.decoder.blocks
            ),
        }

    def _read_source(
        self, features: Features, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The encoder's output `[B, S, D]`, and `[B, S]` bool if it is not padding."""
        tokens = pair_feature(features, "source_tokens")
        lengths = pair_feature(features, "source_lengths")
        check_length(self.config, tokens)
        padding_mask = tf.sequence_mask(lengths, tf.shape(tokens)[1])
        positions = tf.zeros_like(tokens) + tf.range(tf.shape(tokens)[1])
        bias = attention_bias(padding_mask[:, tf.newaxis])
        return self.encoder(self.source_embedding(tokens), positions, bias, training=training)[
            0
        ], padding_mask

    def _decode(
        self,
        tokens: tf.Tensor,
        positions: tf.Tensor,
        attention_mask: tf.Tensor,
        source: dict[str, Any],
        caches: tuple[KeyValues, ...] | None = None,
        slot: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[KeyValues, ...]]:
        """`[B, T]` tokens and positions, `[B, T, C]` mask --> hidden `[B, T, D]`, keys and values
        of each block.
        """
        return self.decoder(
            self.target_embedding(tokens),
            positions,
            attention_bias(attention_mask),
            memory=source["memory"],
            memory_bias=attention_bias(source["padding_mask"][:, tf.newaxis]),
            caches=caches,
            slot=slot,
            training=training,
        )

    def _logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """`[..., D]` --> `[..., V]` float32."""
        if self.logits_projection is not None:
            return tf.cast(self.logits_projection(hidden), tf.float32)
        if self.output_projection is not None:
            hidden = self.output_projection(hidden)
        return self.target_embedding(hidden, reverse=True)

    def _embedding(self, name: str, vocabulary_size: int) -> TokenEmbedding:
        width = self.config.token_width
        return TokenEmbedding(vocabulary_size, width, stddev=width**-0.5, **self._shared(name))

    def _projection(self, name: str, output_width: int) -> Projection:
        return Projection(
            self.config.width, output_width, use_bias=False, stddev=None, **self._shared(name)
        )

    def _shared(self, name: str) -> dict[str, Any]:
        return {"name": name, "seed": fold_seed(self.seed, name), "dtype": self.dtype_policy}


class TransformerStack(keras.layers.Layer):
    """Blocks over embedded tokens and their positions: the encoder, or the decoder.

    Args:
      config: widths and layer options.
      num_layers: L.
      reads_source: whether the blocks attend to a source.
      seed: of initial weights and dropout.
    """

    def __init__(
        self,
        config: TransformerSeq2SeqConfig,
        num_layers: int,
        *,
        reads_source: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.config = config
        dtype = self.dtype_policy
        self.input_projection = self.positions = None
        if config.token_width != config.width:
            self.input_projection = Projection(
                config.token_width,
                config.width,
                use_bias=False,
                stddev=None,
                seed=fold_seed(seed, "input_projection"),
                name="input_projection",
                dtype=dtype,
            )
        if config.positions == "learned":
            self.positions = LearnedPositions(
                config.max_positions,
                config.width,
                stddev=config.width**-0.5,
                seed=fold_seed(seed, "positions"),
                name="positions",
                dtype=dtype,
            )
        self.dropout = Dropout(config.dropout, seed=fold_seed(seed, "dropout"), dtype=dtype)
        self.blocks = [
            make_block(
                config,
                stddev=None,
                output_stddev=None,
                reads_source=reads_source,
                seed=fold_seed(seed, name),
                name=name,
                dtype=dtype,
            )
            for name in (f"block_{index}" for index in range(num_layers))
        ]
        self.final_norm = (
            make_norm(config, "final_norm", dtype) if config.norm_placement == "pre" else None
        )

    def build(self, input_shape: Any = None) -> None:
        for part in (self.input_projection, self.positions, *self.blocks, self.final_norm):
            if part is not None:
                part.build()

    def compute_output_shape(self, input_shape: Any, *args: Any) -> Any:
        return (*input_shape[:-1], self.config.width)

    def call(
        self,
        embedded: tf.Tensor,
        positions: tf.Tensor,
        bias: tf.Tensor,
        *,
        memory: tuple[KeyValues, ...] | None = None,
        memory_bias: tf.Tensor | None = None,
        caches: tuple[KeyValues, ...] | None = None,
        slot: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[KeyValues, ...]]:
        """Runs the blocks over `[B, T, E]`.

        Args:
          embedded: `[B, T, E]` token vectors.
          positions: `[B, T]` int32.
          bias: of self-attention, see `attention_bias`.
          memory, memory_bias: keys and values of the source for each block, and the bias that hides
            its padding.
          caches, slot: each block's cache, and the slot it is written at.
          training: whether anything is dropped.

        Returns:
          `[B, T, D]`, and the keys and values of each block's self-attention.
        """
        x = self.dropout(self._place(embedded, positions), training=training)
        angles = make_rotation(self.config, positions)
        present = []
        for index, block in enumerate(self.blocks):
            x, cache = block(
                x,
                bias,
                rotation=angles,
                past=caches[index] if caches else None,
                slot=slot,
                memory=memory[index] if memory else None,
                memory_bias=memory_bias,
                training=training,
            )
            present.append(cache)
        return (x if self.final_norm is None else self.final_norm(x)), tuple(present)

    def _place(self, embedded: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Token vectors, brought to variance 1 (Vaswani et al., section 3.4), with what encodes
        their positions.
        """
        x = embedded * math.sqrt(self.config.token_width)
        if self.input_projection is not None:
            x = self.input_projection(x)
        if self.positions is not None:
            return x + self.positions(positions)
        if self.config.positions == "sinusoidal":
            return x + tf.cast(sinusoids(positions, self.config.width), x.dtype)
        return x
