"""The `tf.distribute` strategy of a run: how many replicas train, and on which devices."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_textgen.data.batches import Share
from tf_textgen.distribution.cluster import Cluster
from tf_textgen.errors import UserError, job_command
from tf_textgen.runs.run_config import RunConfig


def make_strategy(config: RunConfig, cluster: Cluster) -> tf.distribute.Strategy:
    """Returns the strategy of `--run.strategy`. Call it before anything else uses TensorFlow.

    `auto` chooses all workers of the cluster if it has several, otherwise all GPUs of this machine,
    or the logical CPUs.

    Raises:
      UserError: if cluster, devices and strategy contradict each other.
    """
    has_several_workers = len(cluster.workers) > 1
    gpus = []
    if not has_several_workers:
        _make_logical_cpus(config.logical_cpus)
        gpus = tf.config.list_logical_devices("GPU")
    kind = config.strategy
    if kind == "auto":
        if has_several_workers:
            kind = "multi_worker"
        elif len(gpus) > 1 or config.logical_cpus > 1:
            kind = "mirrored"
    _check_cluster(kind, config.logical_cpus, cluster)
    if kind == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy(_devices(gpus, config.logical_cpus))
    # The default strategy leaves the graph unchanged, which OneDeviceStrategy does not.
    return tf.distribute.get_strategy()


def distribute(
    strategy: tf.distribute.Strategy, make: Callable[[Share], tf.data.Dataset], multiple: int
) -> object:
    """Distributes the batches of each global step to the replicas. Every process makes its own.

    Args:
      strategy: the strategy of the training.
      make: returns the batches of a share, the micro-batches of a step one after the other.
      multiple: the rows of a replica are a multiple of this.

    Returns:
      A dataset for `Model.fit` or `Model.evaluate`.
    """
    if strategy.num_replicas_in_sync == 1:
        return make(Share(multiple=multiple))

    def make_for_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        return make(Share(context.input_pipeline_id * local, local, replicas, multiple))

    return strategy.distribute_datasets_from_function(make_for_worker)


def _check_cluster(kind: str, logical_cpus: int, cluster: Cluster) -> None:
    num_workers = len(cluster.workers)
    if kind == "multi_worker" and num_workers < 2:
        raise UserError(
            "--run.strategy=multi_worker without a TF_CONFIG of several workers: expected one on "
            f"each machine; set it, or run `{job_command('launch')} --num_workers=2 -- train ...` "
            "on one machine"
        )
    if kind == "multi_worker" and logical_cpus > 1:
        raise UserError(
            f"--run.logical_cpus={logical_cpus} with several workers: each has one CPU replica; "
            "leave it out, or start more workers"
        )
    if kind != "multi_worker" and num_workers > 1:
        raise UserError(
            f"--run.strategy={kind} with a TF_CONFIG of {num_workers} workers: expected "
            "multi_worker, because each worker would train its own model in the same run folder; "
            "unset TF_CONFIG or choose auto"
        )


def _make_logical_cpus(count: int) -> None:
    if count <= 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        raise UserError(
            f"--run.logical_cpus={count}: TensorFlow is already in use; expected a process that "
            "has not used it; start a new one"
        ) from error


def _devices(gpus: list[tf.config.LogicalDevice], logical_cpus: int) -> list[str]:
    if logical_cpus > 1:
        return [f"/cpu:{index}" for index in range(logical_cpus)]
    if gpus:
        return [gpu.name for gpu in gpus]
    return ["/cpu:0"]
