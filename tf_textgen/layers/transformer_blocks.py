"""One layer of a Transformer: attention and feed-forward network, each around a residual stream."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.kv_cache import KeyValues
from tf_textgen.layers.positions import Rotation
from tf_textgen.layers.projection import fold_seed

PLACEMENTS = ("pre", "post")


class DecoderBlock(keras.layers.Layer):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))`; or with `post` `norm(x +
    attention(x))` and so on.

    A block of a decoder that reads a source attends to it in between, in the same manner. Without
    that, and with a bias that hides padding only, it is a block of an encoder. (`.keras` files
    hold the name of this class.)

    Args:
      attention: a layer like `SelfAttention`.
      feed_forward: a layer `[B, T, D]` --> `[B, T, D]`.
      attention_norm, feed_forward_norm: their normalizations.
      cross_attention: a layer like `CrossAttention`, or None.
      cross_attention_norm: its normalization.
      norm_placement: `pre` as in GPT-2, steady without warmup (Xiong et al., 2020), or `post`
        (Vaswani et al., 2017).
      dropout: share of each sublayer's output dropped before it is added.
      seed: of dropout.
    """

    def __init__(
        self,
        attention: keras.layers.Layer,
        feed_forward: keras.layers.Layer,
        attention_norm: keras.layers.Layer,
        feed_forward_norm: keras.layers.Layer,
        *,
        cross_attention: keras.layers.Layer | None = None,
        cross_attention_norm: keras.layers.Layer | None = None,
        norm_placement: str = "pre",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if norm_placement not in PLACEMENTS:
            raise UserError(f"norm_placement {norm_placement!r}: expected pre or post")
        self.attention = attention
        self.feed_forward = feed_forward
        self.attention_norm = attention_norm
        self.feed_forward_norm = feed_forward_norm
        self.cross_attention: Any = cross_attention
        self.cross_attention_norm: Any = cross_attention_norm
        self.pre = norm_placement == "pre"

        def dropped(name: str) -> Dropout:
            return Dropout(dropout, seed=fold_seed(seed, name), dtype=self.dtype_policy)

        self.attention_dropout = dropped("attention")
        self.feed_forward_dropout = dropped("feed_forward")
        self.cross_attention_dropout: Any = (
            None if cross_attention is None else dropped("cross_attention")
        )

    def build(self, input_shape: Any = None) -> None:
        parts = [self.attention_norm, self.attention, self.feed_forward_norm, self.feed_forward]
        for part in (*parts, self.cross_attention_norm, self.cross_attention):
            if part is not None:
                part.build()

    def compute_output_shape(self, input_shape: Any, *args: Any) -> Any:
        return input_shape

    def call(
        self,
        inputs: tf.Tensor,
        bias: tf.Tensor,
        *,
        rotation: Rotation | None = None,
        past: KeyValues | None = None,
        slot: tf.Tensor | None = None,
        memory: KeyValues | None = None,
        memory_bias: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, KeyValues]:
        """Runs the sublayers over `[B, T, D]`.

        Args:
          inputs: `[B, T, D]`.
          bias, rotation, past, slot: of `SelfAttention`.
          memory, memory_bias: the source's keys and values and their bias, of `CrossAttention`.
          training: whether outputs are dropped.

        Returns:
          `[B, T, D]`, and the keys and values of self-attention.
        """
        x = self.attention_norm(inputs) if self.pre else inputs
        x, present = self.attention(
            x, bias, rotation=rotation, past=past, slot=slot, training=training
        )
        x = inputs + self.attention_dropout(x, training=training)
        if not self.pre:
            x = self.attention_norm(x)
        if self.cross_attention is not None:
            x = self._read_source(x, memory, memory_bias, training)
        middle = x
        x = self.feed_forward(self.feed_forward_norm(x) if self.pre else x)
        x = middle + self.feed_forward_dropout(x, training=training)
        return (x if self.pre else self.feed_forward_norm(x)), present

    def _read_source(
        self, inputs: tf.Tensor, memory: KeyValues | None, bias: tf.Tensor, training: bool
    ) -> tf.Tensor:
        x = self.cross_attention_norm(inputs) if self.pre else inputs
        x = self.cross_attention(x, memory, bias, training=training)
        x = inputs + self.cross_attention_dropout(x, training=training)
        return x if self.pre else self.cross_attention_norm(x)
