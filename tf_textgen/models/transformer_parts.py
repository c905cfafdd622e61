"""Parts of Transformers made from their configuration; the models give names and initial values."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.attention import CrossAttention, SelfAttention
from tf_textgen.layers.feed_forward import FeedForward
from tf_textgen.layers.normalization import normalization
from tf_textgen.layers.positions import Rotation, rotation
from tf_textgen.layers.projection import fold_seed
from tf_textgen.layers.transformer_blocks import DecoderBlock
from tf_textgen.models.transformer_config import TransformerConfig


def make_block(
    config: TransformerConfig,
    *,
    stddev: float | None,
    output_stddev: float | None,
    reads_source: bool = False,
    seed: int | None,
    name: str,
    dtype: Any,
) -> DecoderBlock:
    """One block.

    Args:
      config: widths and layer options.
      stddev, output_stddev: standard deviations of the initial matrices; None as in `Projection`.
      reads_source: whether it has cross-attention.
      seed, name, dtype: of the block.
    """
    shared = {
        "use_bias": config.use_bias,
        "stddev": stddev,
        "output_stddev": output_stddev,
        "dtype": dtype,
    }
    heads = {
        "num_heads": config.num_heads,
        "num_kv_heads": config.key_value_heads,
        "head_width": config.key_width,
        "value_width": config.head_value_width,
        "score": config.attention_score,
        "dropout": config.attention_dropout,
        **shared,
    }
    cross: dict[str, keras.layers.Layer] = {}
    if reads_source:
        cross["cross_attention"] = CrossAttention(
            config.width, seed=fold_seed(seed, "cross_attention"), name="cross_attention", **heads
        )
        cross["cross_attention_norm"] = make_norm(config, "cross_attention_norm", dtype)
    feed_forward = FeedForward(
        config.width,
        config.inner_width,
        activation=config.activation,
        seed=fold_seed(seed, "feed_forward"),
        name="feed_forward",
        **shared,
    )
    return DecoderBlock(
        SelfAttention(config.width, seed=fold_seed(seed, "attention"), name="attention", **heads),
        feed_forward,
        make_norm(config, "attention_norm", dtype),
        make_norm(config, "feed_forward_norm", dtype),
        **cross,
        norm_placement=config.norm_placement,
        dropout=config.dropout,
        seed=seed,
        name=name,
        dtype=dtype,
    )


def make_norm(config: TransformerConfig, name: str, dtype: Any) -> keras.layers.Layer:
    return normalization(
        config.normalization,
        config.width,
        epsilon=config.norm_epsilon,
        use_bias=config.use_bias,
        name=name,
        dtype=dtype,
    )


def make_rotation(config: TransformerConfig, positions: tf.Tensor) -> Rotation | None:
    """The rotation at `positions` `[B, T]`, if the model has rotary positions."""
    if config.positions != "rotary":
        return None
    return rotation(positions, config.key_width, config.rotary_base)


def check_length(config: TransformerConfig, tokens: tf.Tensor) -> None:
    """Refuses rows that are longer than learned positions.

    The other kinds of positions can be evaluated on longer rows than they were trained on.
    """
    length = tokens.shape[1]
    limit = config.context_limit
    if limit.is_trained and length is not None and length > limit.tokens:
        raise UserError(
            f"sequences of {length} tokens: expected at most --{limit.flag}={limit.tokens}; raise "
            "it or cut the data into shorter windows"
        )
