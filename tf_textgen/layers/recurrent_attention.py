"""Attention of a recurrent decoder to the encoder's memory.

Two places of attention in a decoder:

- Luong: the decoder runs first, all its steps then look at the memory together (`dot_attention`).
- Bahdanau: the previous state looks at the memory and what it finds feeds the cell
(`AttentiveRecurrent`), in the loop.

`AttentionMemory` prepares what does not depend on the decoder, once for each source.

Reference: Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473); Luong, Pham and Manning 2015
(arXiv:1508.04025).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers import recurrent
from tf_textgen.layers.projection import Projection, fold_seed

KEY_PROJECTIONS = {
    "bahdanau": True,
    "luong_general": True,
    "luong_dot": False,
    "luong_scaled": False,
}


class Memory(NamedTuple):
    """The encoder's outputs as attention sees them.

    Attributes:
      values: `[B, S, M]` hidden states of the encoder.
      keys: `[B, S, A]` what queries are compared with: the projected values, or the values
        themselves.
      padding_mask: `[B, S]` bool, False at the padding of the source.
    """

    values: tf.Tensor
    keys: tf.Tensor
    padding_mask: tf.Tensor


@keras.saving.register_keras_serializable("tf_textgen")
class AttentionMemory(keras.layers.Layer):
    """Makes the `Memory` of encoder outputs: the projection of the keys, done once.

    Args:
      attention: bahdanau, luong_general (both project the values), luong_dot or luong_scaled (both
        compare with the values themselves, whose width must be that of the queries).
      units: width A of the keys.
      seed: of the initial weights.
      **kwargs: `name`, `dtype` of `keras.layers.Layer`.
    """

    def __init__(
        self, attention: str, units: int, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if attention not in KEY_PROJECTIONS:
            raise UserError(
                f"attention {attention!r}: expected one of {', '.join(KEY_PROJECTIONS)}"
            )
        self.units = units
        self.projects = KEY_PROJECTIONS[attention]
        self.seed = seed

    def build(self, values_shape: Any) -> None:
        width = values_shape[-1]
        self.projection = None
        if self.projects:
            stddev = (2 / (width + self.units)) ** 0.5  # Glorot and Bengio 2010
            self.projection = Projection(
                width,
                self.units,
                use_bias=False,
                stddev=stddev,
                seed=self.seed,
                name="keys",
                dtype=self.dtype_policy,
            )
        elif width != self.units:
            raise UserError(
                f"dot products of queries of width {self.units} with encoder outputs of width "
                f"{width}: expected equal widths; choose luong_general or bahdanau"
            )

    def call(self, values: tf.Tensor, padding_mask: tf.Tensor) -> Memory:
        """The memory of values `[B, S, M]` with padding if `padding_mask` `[B, S]` is False."""
        return Memory(
            values, values if self.projection is None else self.projection(values), padding_mask
        )


def dot_attention(
    query: tf.Tensor, memory: Memory, *, scale: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Attention by dot products: `luong_dot`; with projected keys `luong_general`; `luong_scaled`
    by 1 / sqrt(D).

    Args:
      query: `[B, T, A]` in the memory's dtype.
      memory: keys of width A.
      scale: factor of the scores.

    Returns:
      contexts `[B, T, M]` and attention weights `[B, T, S]`, 0 at padding.

    Reference: Luong et al. 2015, equation 8; the scale, which keeps wide dot products out of the
    softmax's flat parts, Vaswani et al. 2017, section 3.2.1.
    """
    return _weighted_mean(
        tf.matmul(query * tf.cast(scale, query.dtype), memory.keys, transpose_b=True), memory
    )


def additive_attention(
    query: tf.Tensor, memory: Memory, vector: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Attention by `vector . tanh(query + key)`.

    Args:
      query: projected `[B, A]`, one step of the decoder, in the memory's dtype.
      memory: keys of width A.
      vector: `[A]`.

    Returns:
      context `[B, M]` and attention weights `[B, S]`, 0 at padding.

    Reference: Bahdanau et al. 2015, equation 6 and appendix A.1.2.
    """
    scores = tf.matmul(tf.tanh(query[:, None] + memory.keys), vector[:, None])[..., 0]  # --> [B, S]
    context, weights = _weighted_mean(scores[:, None], memory)
    return context[:, 0], weights[:, 0]


def _weighted_mean(scores: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax of scores `[B, T, S]` in at least float32 over the places of tokens, and the mean of
    the values by it.

    A source without a single token gets weights and contexts of 0.
    """
    precise = tf.cast(scores, tf.float64 if scores.dtype == tf.float64 else tf.float32)
    padding_mask = memory.padding_mask[:, None]
    weights = tf.nn.softmax(tf.where(padding_mask, precise, precise.dtype.min))
    weights = tf.where(padding_mask, weights, tf.zeros_like(weights))
    return tf.matmul(tf.cast(weights, memory.values.dtype), memory.values), weights


@keras.saving.register_keras_serializable("tf_textgen")
class AttentiveRecurrent(recurrent.RecurrentKernels):
    """A recurrent layer whose cell reads, next to its input, what its previous state finds in a
    memory.

    The input projection is before the loop like that of `Recurrent`; the query, the context and
    their products are in the loop, if the paper has them. Arguments as for `RecurrentKernels`;
    keys are as wide as the memory's.

    Reference: Bahdanau et al. 2015, section 3.1 and appendix A.2.2.
    """

    def build(self, inputs_shape: Sequence[int | None], memory_shape: Any = None) -> None:
        super().build(inputs_shape)
        gates = self.cell.gates
        self.context_kernel = self.add_weight(
            shape=(memory_shape[0][-1], len(gates) * self.units),
            initializer=recurrent.PerGate(
                keras.initializers.GlorotUniform, gates, fold_seed(self.seed, "context_kernel")
            ),
            name="context_kernel",
            autocast=False,
        )
        self.query_kernel = self.add_weight(
            shape=(self.units, memory_shape[1][-1]),
            initializer=keras.initializers.GlorotUniform(fold_seed(self.seed, "query_kernel")),
            name="query_kernel",
            autocast=False,
        )
        # Not zeros as in the paper's appendix B.1: queries and keys would get no gradient at first.
        self.score_vector = self.add_weight(
            shape=(memory_shape[1][-1], 1),
            initializer=keras.initializers.GlorotUniform(fold_seed(self.seed, "score_vector")),
            name="score_vector",
            autocast=False,
        )

    def call(
        self,
        inputs: tf.Tensor,
        memory: Memory,
        initial_state: recurrent.RecurrentState | None = None,
        padding_mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, recurrent.RecurrentState]:
        """Runs the layer over inputs `[B, T, I]` and a memory; the other arguments as for
        `Recurrent`.

        Returns:
          the hidden states `[B, T, D]` and the contexts that made them `[B, T, M]`, both in the
          compute dtype, and the last state.
        """
        batch = tf.shape(inputs)[0]
        dtype = self.variable_dtype
        state = initial_state or recurrent.zero_state(self.cell, batch, self.units, dtype)
        weights = self.recurrent_weights()
        context_kernel, query_kernel = (
            tf.cast(w, self.compute_dtype) for w in (self.context_kernel, self.query_kernel)
        )
        vector = tf.cast(self.score_vector, self.compute_dtype)[:, 0]
        values, keys = (tf.cast(part, self.compute_dtype) for part in (memory.values, memory.keys))
        memory = Memory(values, keys, memory.padding_mask)

        def step(row: tf.Tensor, state: recurrent.RecurrentState) -> recurrent.RecurrentState:
            query = tf.matmul(tf.cast(state[0], self.compute_dtype), query_kernel)
            context = tf.cast(additive_attention(query, memory, vector)[0], dtype)
            row = row + recurrent.product(context, context_kernel)
            return (*self.cell.step(row, state[:-1], weights), context)

        before = tf.zeros([batch, memory.values.shape[-1]], dtype)
        steps_first = None if padding_mask is None else tf.transpose(padding_mask)
        # The context is carried next to the state only so that `scan` records it.
        recorded, state = recurrent.scan(
            step,
            (*state, before),
            self.project(inputs),
            padding_mask=steps_first,
            record=(0, len(state)),
        )
        outputs, contexts = (
            tf.cast(tf.transpose(steps, [1, 0, 2]), self.compute_dtype) for steps in recorded
        )
        return outputs, contexts, state[:-1]
