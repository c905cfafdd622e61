"""The readout of a recurrent decoder: from states and contexts to the input of the logits."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.projection import Projection
from tf_textgen.layers.recurrent_attention import Memory, dot_attention

READOUTS = ("none", "bahdanau", "luong_dot", "luong_general", "luong_scaled")


@keras.saving.register_keras_serializable("tf_textgen")
class RecurrentReadout(keras.layers.Layer):
    """The vector of each step from which the next token is read, by the kind of attention.

    - luong_*: the attentional vector ``tanh(W [context; hidden])`` (Luong et al. 2015, equation 5),
      the context being what the current top state finds in the memory; all steps look at once.
    - bahdanau: ``maxout(U hidden + V embedded + C context)`` over pairs (Bahdanau et al. 2015,
      appendix A.2.2), of the current state where the paper takes the previous one: it has read the
      last token and the context already.
    - none: the hidden state, projected if its width is not `units`.

    Args:
      attention: a name in `READOUTS`.
      units: width R of the vectors.
      seed: of the initial weights.
      **kwargs: `name`, `dtype` of `keras.layers.Layer`.
    """

    def __init__(
        self, attention: str, units: int, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if attention not in READOUTS:
            raise UserError(f"attention {attention!r}: expected one of {', '.join(READOUTS)}")
        self.attention = attention
        self.units = units
        self.seed = seed

    def build(
        self,
        hidden_shape: Any,
        embedded_shape: Any = None,
        contexts_shape: Any = None,
        memory_shape: Any = None,
    ) -> None:
        width = hidden_shape[-1]
        self.projection: Any = None
        if self.attention == "bahdanau":
            self.projection = self._project(
                width + embedded_shape[-1] + contexts_shape[-1], 2 * self.units
            )
        elif self.attention != "none":
            self.projection = self._project(width + memory_shape[0][-1], self.units)
        elif width != self.units:
            self.projection = self._project(width, self.units)

    def call(
        self,
        hidden: tf.Tensor,
        embedded: tf.Tensor | None = None,
        contexts: tf.Tensor | None = None,
        memory: Memory | None = None,
    ) -> tf.Tensor:
        """Vectors `[B, T, R]`.

        Args:
          hidden: `[B, T, D]` states of the top layer.
          embedded: `[B, T, E]` inputs of the decoder; only bahdanau needs them.
          contexts: `[B, T, M]` contexts that fed the cell; only bahdanau needs them.
          memory: what luong_* looks at.
        """
        if self.attention == "none":
            return hidden if self.projection is None else self.projection(hidden)
        if self.attention == "bahdanau":
            pairs = self.projection(tf.concat([hidden, embedded, contexts], axis=-1))
            return tf.maximum(*tf.split(pairs, 2, axis=-1))
        if memory is None:
            raise UserError(
                f"attention {self.attention} without a memory: expected what `AttentionMemory` "
                "returned"
            )
        scale = hidden.shape[-1] ** -0.5 if self.attention == "luong_scaled" else 1.0
        contexts, _ = dot_attention(hidden, memory, scale=scale)
        return tf.tanh(self.projection(tf.concat([contexts, hidden], axis=-1)))

    def _project(self, width: int, units: int) -> Projection:
        stddev = (2 / (width + units)) ** 0.5  # Glorot and Bengio 2010
        shared = {"seed": self.seed, "name": "projection", "dtype": self.dtype_policy}
        return Projection(
            width, units, use_bias=self.attention == "bahdanau", stddev=stddev, **shared
        )
