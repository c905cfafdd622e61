"""A decoder-only Transformer; with its default choices it is GPT-2."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers import kv_cache
from tf_textgen.layers.attention import (
    attention_bias,
    cached_mask,
    causal_mask,
    prompt_mask,
    segment_mask,
)
from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.layers.kv_cache import KeyValues
from tf_textgen.layers.positions import LearnedPositions, sinusoids
from tf_textgen.layers.projection import Projection, fold_seed
from tf_textgen.layers.transformer_blocks import DecoderBlock
from tf_textgen.models.base import Features, State, TextModel
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.models.transformer_parts import check_length, make_block, make_norm, make_rotation


@keras.saving.register_keras_serializable(package="tf_textgen")
class TransformerLM(TextModel):
    """The next token from all tokens before it.

    `call` takes `target_tokens` `[B, T]` int32 and, where several documents share a row,
    `segment_ids` `[B, T]` (attention stays within a segment) and `positions` `[B, T]` (counted from
    each segment's start if absent).

    The state of `start` and `step`: `per_step` holds the caches of all blocks and `slot` `[B]`, the
    one all rows write next; `per_source` holds `padding` `[B]`, the number of slots left of the
    prompt. A token's position is its slot less the padding, so a row's result does not depend on
    how far it was padded.

    Reference:
      Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    config_class = TransformerLMConfig
    config: TransformerLMConfig

    def __init__(
        self, config: TransformerLMConfig, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(config, seed=seed, **kwargs)
        shared = {"stddev": config.initializer_stddev, "dtype": self.dtype_policy}
        self.embedding = TokenEmbedding(
            config.vocabulary_size,
            config.token_width,
            seed=fold_seed(seed, "embedding"),
            name="embedding",
            **shared,
        )
        self.positions: LearnedPositions | None = None
        if config.positions == "learned":
            self.positions = LearnedPositions(
                config.max_positions,
                config.width,
                seed=fold_seed(seed, "positions"),
                name="positions",
                **shared,
            )
        self.input_projection = self.output_projection = None
        if config.token_width != config.width:
            self.input_projection = self._projection(
                config.token_width, config.width, "input_projection"
            )
            if config.tied_embeddings:
                self.output_projection = self._projection(
                    config.width, config.token_width, "output_projection"
                )
        self.logits_projection = None
        if not config.tied_embeddings:
            self.logits_projection = self._projection(
                config.width, config.vocabulary_size, "logits"
            )
        self.dropout = Dropout(
            config.dropout, seed=fold_seed(seed, "dropout"), dtype=self.dtype_policy
        )
        self.blocks = [self._block(index) for index in range(config.num_layers)]
        self.final_norm = (
            make_norm(config, "final_norm", self.dtype_policy)
            if config.norm_placement == "pre"
            else None
        )

    def build(self, input_shape: Any = None) -> None:
        """Makes all weights; the shapes given to the layers are what `summary` shows."""
        tokens = (None, None)
        hidden = (None, None, self.config.width)
        self.embedding.build(tokens)
        if self.input_projection is not None:
            self.input_projection.build((*tokens, self.config.token_width))
        if self.positions is not None:
            self.positions.build(tokens)
        output_layers = (self.final_norm, self.output_projection, self.logits_projection)
        for layer in (self.dropout, *self.blocks, *output_layers):
            if layer is not None:
                layer.build(hidden)

    def embeddings(self) -> dict[str, TokenEmbedding]:
        return {"source": self.embedding, "target": self.embedding}

    def example_features(self) -> dict[str, tf.Tensor]:
        return {"target_tokens": tf.zeros([1, 1], tf.int32)}

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        return self._logits(self._read(features, training))

    def hidden(self, features: Features) -> tf.Tensor:
        return self._read(features, training=False)

    def _read(self, features: Features, training: bool) -> tf.Tensor:
        """`target_tokens` `[B, T]` --> hidden `[B, T, D]`."""
        tokens = features["target_tokens"]
        check_length(self.config, tokens)
        mask = causal_mask(tf.shape(tokens)[1])
        positions = features.get("positions")
        if "segment_ids" in features:
            mask &= segment_mask(features["segment_ids"])
            if positions is None:
                positions = tf.reduce_sum(tf.cast(mask, tf.int32), axis=-1) - 1
        elif positions is None:
            positions = tf.zeros_like(tokens) + tf.range(tf.shape(tokens)[1])
        return self._decode(tokens, positions, mask, training=training)[0]

    def start(self, features: Features, capacity: tf.Tensor | int) -> tuple[tf.Tensor, State]:
        tokens = features["target_tokens"]
        lengths = features["target_lengths"]
        length = tf.shape(tokens)[1]
        padding = length - lengths
        positions = tf.range(length) - padding[:, tf.newaxis]
        hidden, caches = self._decode(tokens, positions, prompt_mask(length, padding))
        caches = tuple(kv_cache.reserve(cache, capacity) for cache in caches)
        state = State(
            {"caches": caches, "slot": tf.zeros_like(padding) + length}, {"padding": padding}
        )
        return self._logits(hidden[:, -1]), state

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        caches = state.per_step["caches"]
        slots = state.per_step["slot"]
        padding = state.per_source["padding"]
        slot = tf.reduce_sum(slots[:1])  # the same in all rows; 0 in a batch of none
        mask = cached_mask(caches[0], slot, padding)
        positions = (slots - padding)[:, tf.newaxis]
        hidden, caches = self._decode(tokens[:, tf.newaxis], positions, mask, caches, slot)
        state = State({"caches": caches, "slot": slots + 1}, state.per_source)
        return self._logits(hidden[:, 0]), state

    def _decode(
        self,
        tokens: tf.Tensor,
        positions: tf.Tensor,
        attention_mask: tf.Tensor,
        caches: tuple[KeyValues, ...] | None = None,
        slot: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[KeyValues, ...]]:
        """`[B, T]` tokens and positions, `[B, T, C]` mask --> hidden `[B, T, D]`, keys and values
        of each block.
        """
        x = self.dropout(self._embed(tokens, positions), training=training)
        bias = attention_bias(attention_mask)
        angles = make_rotation(self.config, positions)
        present = []
        for index, block in enumerate(self.blocks):
            past = caches[index] if caches else None
            x, cache = block(x, bias, rotation=angles, past=past, slot=slot, training=training)
            present.append(cache)
        return (x if self.final_norm is None else self.final_norm(x)), tuple(present)

    def _embed(self, tokens: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        x = self.embedding(tokens)
        if self.input_projection is not None:
            x = self.input_projection(x)
        if self.positions is not None:
            return x + self.positions(positions)
        if self.config.positions == "sinusoidal":
            # Sinusoids are of size 1: without the factor they would drown the tokens (Vaswani et
            # al., section 3.4).
            return x * math.sqrt(self.config.width) + tf.cast(
                sinusoids(positions, self.config.width), x.dtype
            )
        return x

    def _logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """`[..., D]` --> `[..., V]` float32."""
        if self.logits_projection is not None:
            return tf.cast(self.logits_projection(hidden), tf.float32)
        if self.output_projection is not None:
            hidden = self.output_projection(hidden)
        return self.embedding(hidden, reverse=True)

    def _block(self, index: int) -> DecoderBlock:
        config = self.config
        name = f"block_{index}"
        return make_block(
            config,
            stddev=config.initializer_stddev,
            # Every block adds twice to the residual stream; the smaller start keeps its variance
            # (GPT-2, section 2.3).
            output_stddev=config.initializer_stddev / math.sqrt(2 * config.num_layers),
            seed=fold_seed(self.seed, name),
            name=name,
            dtype=self.dtype_policy,
        )

    def _projection(self, input_width: int, output_width: int, name: str) -> Projection:
        return Projection(
            input_width,
            output_width,
            use_bias=False,
            stddev=self.config.initializer_stddev,
            seed=fold_seed(self.seed, name),
            name=name,
            dtype=self.dtype_policy,
        )
