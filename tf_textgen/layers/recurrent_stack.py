"""Recurrent layers on top of each other."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers.dropout import Dropout
from tf_textgen.layers.normalization import LayerNorm
from tf_textgen.layers.projection import fold_seed
from tf_textgen.layers.recurrent import Recurrent, RecurrentState, find_cell, zero_state


@keras.saving.register_keras_serializable("tf_textgen")
class RecurrentStack(keras.layers.Layer):
    """Layers of one width; each reads what the one below gives out.

    Args:
      units: width D of every layer.
      num_layers: L.
      input_width: I of the bottom layer's input.
      cell: a name in `CELLS`.
      dropout: share of zeros between two layers in training, other ones at each step (Zaremba et
        al. 2014).
      recurrent_dropout: as for `Recurrent`.
      residual: each layer above the bottom adds what it reads to what it gives out (Wu et al. 2016,
        section 3.1).
      layer_norm: normalise what each layer reads, and what the top one gives out. Ba et al. 2016
        normalise the sums in the cell instead (section 3.1): that is one more reduction at every
        step of the loop, this is one for all steps.
      seed: of the initial weights and of dropout.
      **kwargs: `name`, `dtype` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        units: int,
        num_layers: int,
        *,
        input_width: int,
        cell: str = "lstm",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        residual: bool = False,
        layer_norm: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.num_layers = num_layers
        self.cell = find_cell(cell)
        self.residual = residual
        names = [f"layer_{i}" for i in range(num_layers)]
        self.stack = [
            Recurrent(
                units,
                cell=cell,
                recurrent_dropout=recurrent_dropout,
                seed=fold_seed(seed, name),
                name=name,
                dtype=self.dtype_policy,
            )
            for name in names
        ]
        self.dropouts = [
            Dropout(dropout, seed=fold_seed(seed, name), name=name, dtype=self.dtype_policy)
            for name in (f"dropout_{i}" for i in range(num_layers - 1))
        ]
        self.norms = []
        if layer_norm:
            widths = [input_width] + [units] * num_layers
            self.norms = [
                LayerNorm(w, name=f"norm_{i}", dtype=self.dtype_policy)
                for i, w in enumerate(widths)
            ]

    def zero_states(self, batch: tf.Tensor | int) -> tuple[RecurrentState, ...]:
        """The states of all layers before the first token, each tensor `[batch, D]`."""
        return tuple(
            zero_state(self.cell, batch, self.units, self.variable_dtype) for _ in self.stack
        )

    def call(
        self,
        inputs: tf.Tensor,
        states: tuple[RecurrentState, ...] | None = None,
        padding_mask: tf.Tensor | None = None,
        resets: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[RecurrentState, ...]]:
        """The top layer's outputs `[B, T, D]` and the last states of all layers.

        Args:
          inputs: `[B, T, I]`.
          states: of all layers, bottom first; None begins with zeros.
          padding_mask, resets, training: as for `Recurrent`.
        """
        outputs = inputs
        last = []
        for i, layer in enumerate(self.stack):
            below = self.norms[i](outputs) if self.norms else outputs
            below = self.dropouts[i - 1](below, training=training) if i else below
            first = None if states is None else states[i]
            hidden, state = layer(
                below,
                initial_state=first,
                padding_mask=padding_mask,
                resets=resets,
                training=training,
            )
            outputs = outputs + hidden if self.residual and i else hidden
            last.append(state)
        return (self.norms[-1](outputs) if self.norms else outputs), tuple(last)
