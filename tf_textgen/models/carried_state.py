"""The state that one batch hands to the next while a model is trained or evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_textgen.errors import UserError


class CarriedState:
    """A model's state after a batch, in variables: each replica has its own, of its own rows, which
    is never summed.

    They are no weights: neither an export nor a `.keras` file holds them; a checkpoint keeps them
      next to the model.

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
        """The state, for a batch of `rows` rows a replica; None if they are not known
        when traced.
        """
        expected = self._variables[0].shape[0]
        if rows is not None and rows != expected:
            raise UserError(
                f"a batch of {rows} rows for a state of {expected} that was carried along: "
                "expected batches of one size; compile the model with `carried_rows` as large as a "
                "batch"
            )
        return tf.nest.pack_sequence_as(
            self._structure, [tf.convert_to_tensor(v) for v in self._variables]
        )

    def write(self, state: Any) -> None:
        for variable, value in zip(self._variables, tf.nest.flatten(state), strict=True):
            variable.assign(value)

    @property
    def specs(self) -> dict[str, tf.TensorSpec]:
        """Shape and type of what `gather` returns, by the names that a checkpoint gives it."""
        replicas = self._strategy.num_replicas_in_sync
        return {
            f"state_{i}": tf.TensorSpec(
                [variable.shape[0] * replicas, *variable.shape[1:]], variable.dtype
            )
            for i, variable in enumerate(self._variables)
        }

    def gather(self) -> dict[str, tf.Tensor]:
        """The states of all replicas next to each other, `[B, ...]`, B the rows of a whole batch.

        So they do not depend on the number of replicas. Every worker has to call this.
        """
        strategy = self._strategy

        def local() -> list[tf.Tensor]:
            return [tf.convert_to_tensor(variable) for variable in self._variables]

        if strategy.num_replicas_in_sync == 1:
            return dict(zip(self.specs, local(), strict=True))
        together = tf.function(
            lambda: [strategy.gather(value, axis=0) for value in strategy.run(local)],
            autograph=False,
        )
        return dict(zip(self.specs, together(), strict=True))

    def scatter(self, values: Mapping[str, tf.Tensor]) -> None:
        """Gives every replica the rows of `values`, as `gather` returns them, that are its own."""
        ordered = [tf.convert_to_tensor(values[name]) for name in self.specs]

        def local() -> None:
            context = tf.distribute.get_replica_context()
            for variable, value in zip(self._variables, ordered, strict=True):
                first = context.replica_id_in_sync_group * variable.shape[0]
                variable.assign(value[first : first + variable.shape[0]])

        self._strategy.run(tf.function(local, autograph=False))
