"""The state that one batch hands to the next while a model is trained or evaluated."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_textgen.errors import UserError


class CarriedState:
    """A model's state after a batch, in variables: each replica has its own, of its own rows, which is never summed.

    They are no weights: neither an export nor a `.keras` file holds them; a checkpoint keeps them beside the model.

    Args:
      zeros: the state before the first token: a nest of `[B, ...]`, B the rows of one replica.
    """

    def __init__(self, zeros: Any) -> None:
        self._structure = zeros
        self._strategy = tf.distribute.get_strategy()
        self._variables = [
            tf.Variable(
                zero,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.NONE,
            )
            for zero in tf.nest.flatten(zeros)
        ]

    def read(self, rows: int | None) -> Any:
        """The state, for a batch of `rows` rows a replica; None if they are not known when traced."""
        expected = self._variables[0].shape[0]
        if rows is not None and rows != expected:
            raise UserError(
                f"a batch of {rows} rows for a state of {expected} that was carried along: expected batches of one "
                "size; compile the model with `carried_rows` as large as a batch"
            )
        return tf.nest.pack_sequence_as(self._structure, [tf.convert_to_tensor(v) for v in self._variables])

    def write(self, state: Any) -> None:
        for variable, value in zip(self._variables, tf.nest.flatten(state), strict=True):
            variable.assign(value)

    def by_path(self) -> dict[str, tf.Variable]:
        """The variables of the replicas of this process, as a checkpoint names them."""
        return {
            f"replica_{replica}/state_{i}": local
            for i, variable in enumerate(self._variables)
            for replica, local in enumerate(self._strategy.experimental_local_results(variable))
        }
