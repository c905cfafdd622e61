"""A recurrent decoder whose attention is part of its recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.projection import fold_seed
from tf_textgen.layers.recurrent import (
    PerGate,
    RecurrentKernels,
    RecurrentState,
    find_cell,
    product,
    scan,
)
from tf_textgen.layers.recurrent_attention import Memory, dot_attention


@keras.saving.register_keras_serializable("tf_textgen")
class InputFeedingDecoder(keras.layers.Layer):
    """Stacked layers that read, next to a token, the attentional vector of the step before.

    At each step all layers move on, the top one looks at the memory, and ``tanh(W [context;
    hidden])`` is what the step
    gives out and what the bottom layer reads at the next: it learns what was attended to already.
    So everything but the products of the tokens with the bottom layer's kernel is in one loop,
    which makes it slower than a decoder that looks at the memory for all steps at once.

    Args:
      units: width D of every layer, and of the queries.
      num_layers: L.
      vector_units: width R of the attentional vectors.
      cell: a name in `CELLS`.
      scale: factor of the attention's scores.
      dropout: share of zeros between two layers in training.
      residual: each layer above the bottom adds what it reads to what it gives out.
      seed: of the initial weights and of dropout.
      **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Reference: Luong et al. 2015, section 3.3.
    """

    def __init__(
        self,
        units: int,
        num_layers: int,
        vector_units: int,
        *,
        cell: str = "lstm",
        scale: float = 1.0,
        dropout: float = 0.0,
        residual: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.vector_units = vector_units
        self.cell = find_cell(cell)
        self.scale = scale
        self.residual = residual
        self.seed = seed
        self.stack = [
            RecurrentKernels(
                units, cell=cell, seed=fold_seed(seed, name), name=name, dtype=self.dtype_policy
            )
            for name in (f"layer_{i}" for i in range(num_layers))
        ]
        self.dropouts = [
            Dropout(dropout, seed=fold_seed(seed, name), name=name, dtype=self.variable_dtype)
            for name in (f"dropout_{i}" for i in range(num_layers - 1))
        ]

    def build(self, inputs_shape: Sequence[int | None], memory_shape: Any = None) -> None:
        for i, layer in enumerate(self.stack):
            layer.build((None, None, self.units if i else inputs_shape[-1]))
        gates = self.cell.gates
        self.feed_kernel = self.add_weight(
            shape=(self.vector_units, len(gates) * self.units),
            initializer=PerGate(
                keras.initializers.GlorotUniform, gates, fold_seed(self.seed, "feed_kernel")
            ),
            name="feed_kernel",
            autocast=False,
        )
        self.vector_kernel = self.add_weight(
            shape=(memory_shape[0][-1] + self.units, self.vector_units),
            initializer=keras.initializers.GlorotUniform(fold_seed(self.seed, "vector_kernel")),
            name="vector_kernel",
            autocast=False,
        )

    def begin(self, states: tuple[RecurrentState, ...]) -> tuple[RecurrentState, ...]:
        """The states of all layers with a vector of zeros `[B, R]` behind them, which the first
        step reads.
        """
        return (
            *states,
            (tf.zeros([tf.shape(states[0][0])[0], self.vector_units], self.variable_dtype),),
        )

    def call(
        self,
        inputs: tf.Tensor,
        memory: Memory,
        states: tuple[RecurrentState, ...],
        padding_mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[RecurrentState, ...]]:
        """The attentional vectors `[B, T, R]` in the compute dtype, and the last states.

        Args:
          inputs: `[B, T, E]`.
          memory: what the top layer looks at, keys of width D.
          states: what `begin` or a call before returned.
          padding_mask: `[B, T]` bool, False at padding, which never changes the states; None if
            there is no padding.
          training: whether dropout acts.
        """
        rows = [self.stack[0].project(inputs)]
        if training:
            # Dropout of all steps is drawn before the loop and walks along with the inputs.
            ones = tf.ones([*tf.unstack(tf.shape(rows[0])[:2]), self.units], self.variable_dtype)
            rows += [dropout(ones, training=True) for dropout in self.dropouts]
        step = self._make_step(
            memory, tf.nest.map_structure(lambda t: None, states), [row.shape[-1] for row in rows]
        )
        flat = tuple(tf.nest.flatten(states))
        (vectors,), last = scan(
            step,
            flat,
            tf.concat(rows, axis=-1),
            padding_mask=None if padding_mask is None else tf.transpose(padding_mask),
            record=(len(flat) - 1,),
        )
        outputs = tf.cast(tf.transpose(vectors, [1, 0, 2]), self.compute_dtype)
        return outputs, tf.nest.pack_sequence_as(states, last)

    def _make_step(self, memory: Memory, structure: Any, widths: list[int]) -> Any:
        """The function of one step; weights are read and cast here, once, before the loop."""
        dtype = self.compute_dtype
        memory = Memory(
            tf.cast(memory.values, dtype), tf.cast(memory.keys, dtype), memory.padding_mask
        )
        weights = [layer.recurrent_weights() for layer in self.stack]
        kernels = [
            (tf.cast(layer.kernel, dtype), tf.convert_to_tensor(layer.bias))
            for layer in self.stack[1:]
        ]
        feed_kernel = tf.cast(self.feed_kernel, dtype)
        vector_kernel = tf.cast(self.vector_kernel, dtype)

        def step(row: tf.Tensor, flat: RecurrentState) -> RecurrentState:
            *states, (vector,) = tf.nest.pack_sequence_as(structure, flat)
            gates, *masks = tf.split(row, widths, axis=-1)
            new = [self.cell.step(gates + product(vector, feed_kernel), states[0], weights[0])]
            hidden = new[0][0]
            for i, (kernel, bias) in enumerate(kernels):
                below = hidden * masks[i] if masks else hidden
                new.append(
                    self.cell.step(product(below, kernel) + bias, states[i + 1], weights[i + 1])
                )
                hidden = new[-1][0] + hidden if self.residual else new[-1][0]
            context, _ = dot_attention(tf.cast(hidden[:, None], dtype), memory, scale=self.scale)
            both = tf.concat([tf.cast(context[:, 0], hidden.dtype), hidden], axis=-1)
            return (*tf.nest.flatten(new), tf.tanh(product(both, vector_kernel)))

        return step
