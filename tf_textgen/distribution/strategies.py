"""How many replicas train, and where: the strategy of `tf.distribute` that a run asks for."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_textgen.data.batches import Share
from tf_textgen.distribution.cluster import Cluster
from tf_textgen.errors import UserError, job_command
from tf_textgen.runs.run_config import RunConfig


def make_strategy(config: RunConfig, cluster: Cluster) -> tf.distribute.Strategy:
    """The strategy of `--run.strategy`; to be made before anything else is done with TensorFlow.

    `auto` takes all workers of the cluster if it names several, else all GPUs of this machine,
    or the logical CPUs.

    Raises:
      UserError: where cluster, devices and strategy contradict each other.
    """
    kind = config.strategy
    if len(cluster.workers) == 1:
        _make_logical_cpus(config.logical_cpus)
    gpus = tf.config.list_logical_devices("GPU") if len(cluster.workers) == 1 else []
    if kind == "auto":
        several = len(gpus) > 1 or config.logical_cpus > 1
        kind = (
            "multi_worker" if len(cluster.workers) > 1 else "mirrored" if several else "one_device"
        )
    if kind == "multi_worker":
        if len(cluster.workers) < 2:
            raise UserError(
                "--run.strategy=multi_worker without a TF_CONFIG of several workers: expected one "
                f"on each machine; set it, or run `{job_command('launch')} --num_workers=2 -- "
                "train ...` on one machine"
            )
        if config.logical_cpus > 1:
            raise UserError(
                f"--run.logical_cpus={config.logical_cpus} with several workers: each has one CPU "
                "replica; leave it out, or start more workers"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(cluster.workers) > 1:
        raise UserError(
            f"--run.strategy={kind} with a TF_CONFIG of {len(cluster.workers)} workers: expected "
            "multi_worker, since each would train for itself in the same run folder; unset "
            "TF_CONFIG or choose auto"
        )
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy(_devices(gpus, config.logical_cpus))
    # The strategy that is there by default, not OneDeviceStrategy: it leaves the graph as it is.
    return tf.distribute.get_strategy()


def distribute(
    strategy: tf.distribute.Strategy, make: Callable[[Share], tf.data.Dataset], multiple: int
) -> object:
    """The batches of a global step to the replicas, each process making those of its own.

    Args:
      strategy: whose replicas are fed.
      make: the batches of a share, those of a step one after the other.
      multiple: a replica's rows are a multiple of this.

    Returns:
      What `Model.fit` and `Model.evaluate` take.
    """
    if strategy.num_replicas_in_sync == 1:
        return make(Share(multiple=multiple))

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        return make(Share(context.input_pipeline_id * local, local, replicas, multiple))

    return strategy.distribute_datasets_from_function(of_worker)


def _make_logical_cpus(count: int) -> None:
    if count <= 1:
        return
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        raise UserError(
            f"--run.logical_cpus={count}: TensorFlow is in use already; expected a process of its "
            "own"
        ) from error


def _devices(gpus: list[tf.config.LogicalDevice], logical_cpus: int) -> list[str]:
    if logical_cpus > 1:
        return [f"/cpu:{i}" for i in range(logical_cpus)]
    return [gpu.name for gpu in gpus] or ["/cpu:0"]
