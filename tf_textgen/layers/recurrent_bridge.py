"""From the last states of an encoder to the first states of a decoder."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.projection import fold_seed
from tf_textgen.layers.recurrent import RecurrentState, find_cell

BRIDGES = ("dense", "copy", "zero")


@keras.saving.register_keras_serializable("tf_textgen")
class RecurrentBridge(keras.layers.Layer):
    """Makes the first state of every decoder layer.

    Decoder and encoder layers are paired from the top down; decoder layers without a partner below
    take the lowest encoder layer's state.

    Args:
      kind: dense, a learned layer for each tensor of each state, with tanh if the cell's state
        lies in [-1, 1] anyway; copy, the states as they are (same widths); zero, zeros: the source
        is then visible only to attention.
      units: width D of the decoder.
      decoder_layers: number of decoder layers.
      cell: name of the recurrent cell, the same on both sides.
      seed: of the initial weights.
      **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Reference: Sutskever et al. 2014 (copy); Bahdanau et al. 2015, appendix A.2.2 (dense).
    """

    def __init__(
        self,
        kind: str,
        units: int,
        decoder_layers: int,
        *,
        cell: str = "lstm",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if kind not in BRIDGES:
            raise UserError(f"bridge {kind!r}: expected one of {', '.join(BRIDGES)}")
        self.kind = kind
        self.units = units
        self.decoder_layers = decoder_layers
        bounded = find_cell(cell).bounded
        self.projections: list[list[keras.layers.Dense]] = []
        if kind == "dense":
            self.projections = [
                [
                    self._dense(f"layer_{layer}_state_{i}", tanh, seed)
                    for i, tanh in enumerate(bounded)
                ]
                for layer in range(decoder_layers)
            ]

    def call(self, states: tuple[RecurrentState, ...]) -> tuple[RecurrentState, ...]:
        """The first states of the decoder's layers, each tensor `[B, D]`, from the encoder's,
        bottom layer first.
        """
        lowest = len(states) - self.decoder_layers
        partners = [states[max(lowest + layer, 0)] for layer in range(self.decoder_layers)]
        if self.kind == "zero":
            return tuple(
                tuple(tf.zeros([tf.shape(t)[0], self.units], t.dtype) for t in state)
                for state in partners
            )
        if self.kind == "copy":
            self._check_width(partners)
            return tuple(partners)
        return tuple(
            tuple(tf.cast(dense(t), t.dtype) for dense, t in zip(row, state, strict=True))
            for row, state in zip(self.projections, partners, strict=True)
        )

    def _dense(self, name: str, bounded: bool, seed: int | None) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.units,
            activation="tanh" if bounded else None,
            kernel_initializer=keras.initializers.GlorotUniform(fold_seed(seed, name)),
            name=name,
            dtype=self.dtype_policy,
        )

    def _check_width(self, states: list[RecurrentState]) -> None:
        for state in states:
            if state[0].shape[-1] != self.units:
                raise UserError(
                    f"bridge copy from encoder states of width {state[0].shape[-1]} to a decoder "
                    f"of width {self.units}: expected equal widths; choose the dense bridge"
                )
