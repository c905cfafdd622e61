"""The processes of one training: what they have to agree on, and what happens when one is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tf_textgen.distribution.cluster import ALONE, Cluster
from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoints import Checkpoints

# TensorFlow's coordination service calls a worker lost that was silent for 10 seconds, also one
# that hangs or is cut off without a word; the others hear of it at the step they are in, or when
# they have written what they write.
WORKER_LOST_SECONDS = 30
_SIGNS_OF_LOSS = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


class WorkerLost(UserError):
    """Another worker of the training is gone; what was saved is whole."""


class Workers:
    """What all workers of a training know of each other; of a process alone, its own.

    Every method but the properties has to be called by all workers, in the same order.

    Args:
      strategy: the training's; None is that of the scope.
      cluster: the workers, and which of them this is; this process alone by default.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, cluster: Cluster = ALONE
    ) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self.cluster = cluster
        self._sum = tf.function(self._sum_over_replicas, autograph=False)

    @property
    def are_several(self) -> bool:
        return len(self.cluster.workers) > 1

    @property
    def is_chief(self) -> bool:
        return self.cluster.is_chief

    def any(self, here: bool) -> bool:
        """Whether it is so on any worker."""
        return self.total(float(here)) > 0.0 if self.are_several else here

    def from_chief(self, value: float) -> float:
        """The chief's number, on every worker; exact to 53 bits."""
        return self.total(value if self.is_chief else 0.0) if self.are_several else value

    def wait(self) -> None:
        """Goes on when all workers have come here."""
        self.any(False)

    def total(self, value: float) -> float:
        """The sum over the workers."""
        replicas_each = self.strategy.num_replicas_in_sync // len(self.cluster.workers)
        return float(self._sum(tf.constant(value, tf.float64))) / replicas_each

    def _sum_over_replicas(self, value: tf.Tensor) -> tf.Tensor:
        def here() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.identity(value)
            )

        return self.strategy.experimental_local_results(self.strategy.run(here))[0]


@contextlib.contextmanager
def watched(cluster: Cluster, checkpoints: Checkpoints) -> Iterator[None]:
    """Says in one line that a worker was lost, where TensorFlow would tell of collectives.

    Raises:
      WorkerLost: which names the checkpoint that the same command continues from.
    """
    try:
        yield
    except _SIGNS_OF_LOSS as error:
        if len(cluster.workers) == 1:
            raise
        raise WorkerLost(_lost(error, cluster, checkpoints)) from error


def _lost(error: tf.errors.OpError, cluster: Cluster, checkpoints: Checkpoints) -> str:
    others = [i for i in range(len(cluster.workers)) if i != cluster.index]
    named = [i for i in others if f"{cluster.task(i)}\n" in str(error)] or others
    lost = " or ".join(f"worker {i} ({cluster.workers[i]})" for i in named)
    steps = checkpoints.steps()
    kept = (
        f"continues from step {steps[-1]}" if steps else "begins again, as nothing was saved before"
    )
    return (
        f"{lost} was lost, or ended with an error of its own: expected all {len(cluster.workers)} "
        f"workers to answer; give the same command on all of them again, which {kept}"
    )
