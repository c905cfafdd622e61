"""Attention of many heads: of a sequence to itself, with a cache of keys and values, and to another
one.

Letters: `B` batch, `T` queries, `C` keys (slots), `D` width, `N` query heads, `K` key and value
heads, `G = N / K` queries sharing a key, `H` head width.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers import kv_cache
from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.kv_cache import KeyValues
from tf_textgen.layers.positions import Rotation, rotate
from tf_textgen.layers.projection import Projection, dimensions, fold_seed

SCORES = ("dot_product", "cosine", "euclidean")
_HIDDEN = -1e30  # finite: a row that sees nothing gives even weights instead of NaN
_INITIAL_COSINE_SCALE = 10.0  # as in Swin Transformer V2
_EPSILON = 1e-6


def causal_mask(length: int | tf.Tensor) -> tf.Tensor:
    """`[1, T, T]` bool: each position sees itself and what came before."""
    slots = tf.range(length)
    return (slots[:, tf.newaxis] >= slots)[tf.newaxis]


def segment_mask(segment_ids: tf.Tensor) -> tf.Tensor:
    """`[B, T, T]` bool from `[B, T]`: each position sees the positions of its own segment."""
    return segment_ids[:, :, tf.newaxis] == segment_ids[:, tf.newaxis, :]


def prompt_mask(length: int | tf.Tensor, padding: tf.Tensor) -> tf.Tensor:
    """`[B, P, P]` bool for left-padded prompts: a causal mask that hides the `padding` `[B]` first
    places of each.
    """
    return causal_mask(length) & (tf.range(length) >= padding[:, tf.newaxis])[:, tf.newaxis]


def cached_mask(cache: KeyValues, slot: tf.Tensor, padding: tf.Tensor) -> tf.Tensor:
    """`[B, 1, C]` bool for the token at `slot`: it sees the slots written so far, but for each
    row's padding.
    """
    past = tf.range(tf.shape(cache.keys)[2])
    return ((past <= slot) & (past >= padding[:, tf.newaxis]))[:, tf.newaxis]


def attention_bias(attention_mask: tf.Tensor) -> tf.Tensor:
    """Returns the bias of the scores: 0 if the mask `[B, T, C]` is true, -1e30 elsewhere --> `[B,
    1, 1, T, C]`.
    """
    return tf.where(attention_mask, 0.0, _HIDDEN)[:, tf.newaxis, tf.newaxis]


class Attention(keras.layers.Layer):
    """The base of self- and cross-attention: heads, scores and weighted sums, without the input's
    projections.

    Keras' casting of arguments is off: rotations and biases stay float32 under mixed precision, and
    so do scores and softmax; the products are made in the compute dtype.

    Args:
      width: D.
      num_heads: N.
      num_kv_heads: K, a divisor of N; each key serves N / K neighbouring queries (Ainslie et al.,
        2023).
      head_width: H, of queries and keys.
      value_width: of the values of one head.
      score: `dot_product` `q k / sqrt(H)`; `cosine` `s q k / (|q| |k|)` with one learned `s` for
        each head (Henry et al., 2020); `euclidean` `-|q - k|`.
      use_bias: add biases to the projections.
      dropout: share of attention weights dropped.
      stddev, output_stddev: standard deviations of the initial matrices; None as in `Projection`.
      seed: of the initial matrices and of dropout.

    Reference:
      Vaswani et al., "Attention Is All You Need", 2017, section 3.2; Henry et al., "Query-Key
      Normalization for Transformers", 2020; Ainslie et al., "GQA", 2023.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        num_kv_heads: int,
        head_width: int,
        value_width: int,
        score: str = "dot_product",
        use_bias: bool = True,
        dropout: float = 0.0,
        stddev: float | None = 0.02,
        output_stddev: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if score not in SCORES:
            raise UserError(f"attention score {score!r}: expected one of {', '.join(SCORES)}")
        if num_heads % num_kv_heads:
            raise UserError(
                f"{num_kv_heads} key heads for {num_heads} query heads: expected a divisor"
            )
        self.width = width
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads
        self.head_width = head_width
        self.value_width = value_width
        self.score = score
        self.use_bias = use_bias
        self.stddev = stddev
        self.seed = seed
        self.widths = [
            num_heads * head_width,
            num_kv_heads * head_width,
            num_kv_heads * value_width,
        ]
        self._add_input_projections()
        self.output_projection = self._projection(
            num_heads * value_width,
            width,
            "output",
            "output_projection",
            stddev=output_stddev or stddev,
        )
        self.dropout = Dropout(dropout, seed=fold_seed(seed, "dropout"), dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        self.output_projection.build()
        if self.score == "cosine":
            initial = keras.initializers.Constant(_INITIAL_COSINE_SCALE)
            self.scale = self.add_weight((self.num_heads,), initial, name="scale", autocast=False)

    def _add_input_projections(self) -> None:
        """Makes the layers that give queries, keys and values."""
        raise NotImplementedError

    def _projection(
        self, input_width: int, output_width: int, seed_name: str, name: str, stddev: float | None
    ) -> Projection:
        return Projection(
            input_width,
            output_width,
            use_bias=self.use_bias,
            stddev=stddev,
            seed=fold_seed(self.seed, seed_name),
            name=name,
            dtype=self.dtype_policy,
        )

    def _attend(
        self, queries: tf.Tensor, present: KeyValues, bias: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Prepared queries `[B, N, T, H]` and keys --> `[B, T, D]`."""
        weights = tf.nn.softmax(self._scores(queries, present.keys) + bias)
        weights = self.dropout(tf.cast(weights, self.compute_dtype), training=training)
        return self.output_projection(self._weighted_sum(weights, present.values))

    def _heads(self, flat: tf.Tensor, heads: int) -> tf.Tensor:
        """`[B, T, heads * width]` --> `[B, heads, T, width]`."""
        batch, length, width = dimensions(flat)
        return tf.transpose(tf.reshape(flat, [batch, length, heads, width // heads]), [0, 2, 1, 3])

    def _prepare_queries(self, queries: tf.Tensor) -> tf.Tensor:
        """Transforms queries before the product with the keys."""
        if self.score == "dot_product":
            return queries * self.head_width**-0.5
        if self.score == "cosine":
            scale = tf.cast(self.scale, tf.float32)[:, tf.newaxis, tf.newaxis]
            return tf.cast(_unit(queries) * scale, self.compute_dtype)
        return queries

    def _prepare_keys(self, keys: tf.Tensor) -> tf.Tensor:
        """Transforms keys, so that cached keys are ready for the product with the queries."""
        return tf.cast(_unit(keys), self.compute_dtype) if self.score == "cosine" else keys

    def _scores(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """`[B, N, T, H]`, `[B, K, C, H]` --> `[B, K, G, T, C]` float32, without repeating a key."""
        batch, heads, length, width = dimensions(queries)
        group = heads // self.num_kv_heads
        queries = tf.reshape(queries, [batch, self.num_kv_heads, group * length, width])
        if self.score == "euclidean":
            scores = -_distances(queries, keys)
        else:
            scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
        return tf.reshape(scores, [batch, self.num_kv_heads, group, length, dimensions(keys)[2]])

    def _weighted_sum(self, weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """`[B, K, G, T, C]`, `[B, K, C, value width]` --> `[B, T, N * value width]`."""
        batch, kv_heads, group, length, slots = dimensions(weights)
        mixed = tf.matmul(tf.reshape(weights, [batch, kv_heads, group * length, slots]), values)
        mixed = tf.reshape(mixed, [batch, self.num_heads, length, self.value_width])
        return tf.reshape(
            tf.transpose(mixed, [0, 2, 1, 3]), [batch, length, self.num_heads * self.value_width]
        )


class SelfAttention(Attention):
    """Attention of a sequence to itself; queries, keys and values come from one matrix product."""

    def _add_input_projections(self) -> None:
        self.query_key_value = self._projection(
            self.width, sum(self.widths), "input", "query_key_value", stddev=self.stddev
        )

    def build(self, input_shape: Any = None) -> None:
        self.query_key_value.build()
        super().build(input_shape)

    def call(
        self,
        inputs: tf.Tensor,
        bias: tf.Tensor,
        *,
        rotation: Rotation | None = None,
        past: KeyValues | None = None,
        slot: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, KeyValues]:
        """Attends from `inputs` to themselves, or with a cache to all its slots.

        Args:
          inputs: `[B, T, D]`; T = 1 with a cache.
          bias: float32 broadcastable to `[B, 1, 1, T, C]`, of `attention_bias`.
          rotation: angles of rotary positions, or None.
          past: the cache, or None.
          slot: int32 scalar, the slot of the cache the inputs are written to.
          training: whether weights are dropped.

        Returns:
          `[B, T, D]`, and the keys and values: the inputs' own, or the cache with them.
        """
        parts = tf.split(self.query_key_value(inputs), self.widths, axis=-1)
        queries = self._heads(parts[0], self.num_heads)
        keys, values = (self._heads(part, self.num_kv_heads) for part in parts[1:])
        if rotation is not None:
            queries = rotate(queries, rotation)
            keys = rotate(keys, rotation)
        present = KeyValues(self._prepare_keys(keys), values)
        if past is not None:
            present = kv_cache.write(past, present, slot)
        return self._attend(self._prepare_queries(queries), present, bias, training), present


class CrossAttention(Attention):
    """Attention of a sequence to another, whose keys and values are made once, by `project`."""

    def _add_input_projections(self) -> None:
        query_width, *key_value_widths = self.widths
        self.query = self._projection(self.width, query_width, "query", "query", stddev=self.stddev)
        self.key_value = self._projection(
            self.width, sum(key_value_widths), "key_value", "key_value", stddev=self.stddev
        )

    def build(self, input_shape: Any = None) -> None:
        self.query.build()
        self.key_value.build()
        super().build(input_shape)

    def project(self, memory: tf.Tensor) -> KeyValues:
        """The keys and values `[B, K, S, ...]` of what the encoder made of a source,
        `[B, S, D]`.
        """
        keys, values = (
            self._heads(part, self.num_kv_heads)
            for part in tf.split(self.key_value(memory), self.widths[1:], axis=-1)
        )
        return KeyValues(self._prepare_keys(keys), values)

    def call(
        self, inputs: tf.Tensor, memory: KeyValues, bias: tf.Tensor, *, training: bool = False
    ) -> tf.Tensor:
        """`[B, T, D]` --> `[B, T, D]`, over keys and values of `project`; `bias` is float32 `[B, 1,
        1, 1, S]`.
        """
        queries = self._heads(self.query(inputs), self.num_heads)
        return self._attend(self._prepare_queries(queries), memory, bias, training)


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1, epsilon=_EPSILON)


def _distances(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Euclidean distances `[..., M, C]` float32 of `[..., M, H]` and `[..., C, H]`.

    In float32 throughout: the square is a difference of large terms. The epsilon keeps the root's
      slope finite at 0.
    """
    queries = tf.cast(queries, tf.float32)
    keys = tf.cast(keys, tf.float32)
    products = tf.matmul(queries, keys, transpose_b=True)
    key_squares = tf.reduce_sum(tf.square(keys), axis=-1)[..., tf.newaxis, :]
    squares = (
        tf.reduce_sum(tf.square(queries), axis=-1, keepdims=True) + key_squares - 2.0 * products
    )
    return tf.sqrt(tf.maximum(squares, 0.0) + _EPSILON)
