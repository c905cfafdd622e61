"""Communication between the workers of a training, and the error of a worker that was lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from tf_textgen.distribution.cluster import ONE_PROCESS, Cluster
from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoints import Checkpoints

WORKER_LOST_SECONDS = 30
"""The time in which the others notice a lost worker.

TensorFlow's coordination service gives a worker up after 10 seconds of silence, also if it hangs or
is cut off. The others get the error in their current step, or after their current write.
"""
_SIGNS_OF_LOSS = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
)


class WorkerLost(UserError):
    """Another worker of the training is gone; the saved checkpoints are whole."""


class Workers:
    """Exchanges numbers between all workers of a training.

    Every method except the properties has to be called by all workers, in the same order.

    Args:
      strategy: the strategy of the training; None is that of the current scope.
      cluster: the workers of the training.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy | None = None, cluster: Cluster = ONE_PROCESS
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
        """Returns whether `here` is true on any worker."""
        if not self.are_several:
            return here
        return self.total(float(here)) > 0.0

    def from_chief(self, value: float) -> float:
        """Returns the chief's value on every worker; exact to 53 bits."""
        if not self.are_several:
            return value
        return self.total(value if self.is_chief else 0.0)

    def wait(self) -> None:
        """Returns when all workers have called it."""
        self.any(False)

    def total(self, value: float) -> float:
        """Returns the sum over the workers."""
        replicas_per_worker = self.strategy.num_replicas_in_sync // len(self.cluster.workers)
        return float(self._sum(tf.constant(value, tf.float64))) / replicas_per_worker

    def _sum_over_replicas(self, value: tf.Tensor) -> tf.Tensor:
        def sum_in_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        results = self.strategy.run(sum_in_replica)
        return self.strategy.experimental_local_results(results)[0]


@contextlib.contextmanager
def watched(cluster: Cluster, checkpoints: Checkpoints) -> Iterator[None]:
    """Reports a lost worker in one line instead of TensorFlow's errors about collectives.

    Raises:
      WorkerLost: names the checkpoint from which the same command continues.
    """
    try:
        yield
    except _SIGNS_OF_LOSS as error:
        if len(cluster.workers) == 1:
            raise
        raise WorkerLost(_message(error, cluster, checkpoints)) from error


def _message(error: tf.errors.OpError, cluster: Cluster, checkpoints: Checkpoints) -> str:
    others = [index for index in range(len(cluster.workers)) if index != cluster.index]
    named = [index for index in others if f"{cluster.task(index)}\n" in str(error)]
    lost = " or ".join(f"worker {index} ({cluster.workers[index]})" for index in named or others)
    steps = checkpoints.steps()
    if steps:
        continuation = f"continues from step {steps[-1]}"
    else:
        continuation = "restarts, because no checkpoint was saved before"
    return (
        f"{lost} was lost, or ended with its own error: expected all {len(cluster.workers)} "
        f"workers to answer; run the same command on all of them again, which {continuation}"
    )
