import pytest
import tensorflow as tf

from tf_textgen.distribution.cluster import ONE_PROCESS, Cluster
from tf_textgen.distribution.strategies import distribute, make_strategy
from tf_textgen.distribution.workers import WorkerLost, Workers, watched
from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.run_config import RunConfig

TWO = Cluster(("a:1", "b:2"), 0)


@pytest.mark.parametrize("name", ["auto", "one_device"])
def test_one_device_is_the_strategy_of_no_scope(name):
    strategy = make_strategy(RunConfig(strategy=name), ONE_PROCESS)
    assert strategy.num_replicas_in_sync == 1 and not isinstance(
        strategy, tf.distribute.MirroredStrategy
    )


def test_mirrored_works_on_one_cpu_too():
    strategy = make_strategy(RunConfig(strategy="mirrored"), ONE_PROCESS)
    assert (
        isinstance(strategy, tf.distribute.MirroredStrategy) and strategy.num_replicas_in_sync == 1
    )


@pytest.mark.parametrize(
    ("run", "cluster", "message"),
    [
        (
            {"strategy": "multi_worker"},
            ONE_PROCESS,
            "multi_worker without a TF_CONFIG of several workers: expected one on each",
        ),
        (
            {"strategy": "mirrored"},
            TWO,
            "mirrored with a TF_CONFIG of 2 workers: expected multi_worker",
        ),
        (
            {"strategy": "one_device"},
            TWO,
            "one_device with a TF_CONFIG of 2 workers: expected multi_worker",
        ),
        (
            {"logical_cpus": 2},
            TWO,
            "--run.logical_cpus=2 with several workers: each has one CPU replica",
        ),
        ({"logical_cpus": 2}, ONE_PROCESS, "--run.logical_cpus=2: TensorFlow is already in use"),
    ],
)
def test_contradictions_are_told(run, cluster, message):
    tf.zeros([])  # TensorFlow is in use
    with pytest.raises(UserError, match=message):
        make_strategy(RunConfig(**run), cluster)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            {"strategy": "parameter_server"},
            "parameter_server: Keras 3 has no ParameterServerStrategy; expected multi_wor",
        ),
        (
            {"strategy": "mirored"},
            "--run.strategy=mirored: expected one of auto, .*; did you mean 'mirrored'",
        ),
        (
            {"strategy": "one_device", "logical_cpus": 2},
            "logical_cpus=2 with --run.strategy=one_device: expected mirrored",
        ),
        ({"logical_cpus": 0}, "--run.logical_cpus=0: expected a value at least 1"),
        ({"micro_batches": 0}, "--run.micro_batches=0: expected a value at least 1"),
    ],
)
def test_bad_flags_are_told(run, message):
    with pytest.raises(UserError, match=message):
        RunConfig(**run)


def test_one_replica_is_given_the_batches_as_they_are():
    asked = []
    dataset = tf.data.Dataset.range(1)
    assert (
        distribute(tf.distribute.get_strategy(), lambda share: asked.append(share) or dataset, 4)
        is dataset
    )
    assert [(share.local, share.replicas, share.multiple) for share in asked] == [(1, 1, 4)]


def test_a_process_alone_agrees_with_itself():
    workers = Workers()
    workers.wait()
    assert workers.is_chief and not workers.are_several
    assert workers.from_chief(2.5) == 2.5 and workers.any(True) and not workers.any(False)


def _lost(error, cluster, checkpoints):
    with pytest.raises(WorkerLost) as raised, watched(cluster, checkpoints):
        raise error
    return str(raised.value)


def test_a_lost_worker_is_named_with_the_step_to_go_on_from(tmp_path):
    text = (
        "unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:1\n"
        "The tasks have crashed."
    )
    error = tf.errors.UnavailableError(None, None, text)
    cluster = Cluster(("a:1", "b:2", "c:3"), 2)
    assert _lost(error, cluster, Checkpoints(tmp_path)) == (
        "worker 1 (b:2) was lost, or ended with its own error: expected all 3 workers to answer; "
        "run the same command on all of them again, which restarts, because no checkpoint was "
        "saved before"
    )
    (tmp_path / "step-00000040").mkdir()
    assert _lost(error, cluster, Checkpoints(tmp_path)).endswith("continues from step 40")
    error = tf.errors.DeadlineExceededError(
        None, None, "RPC: /tensorflow.CoordinationService/Heartbeat"
    )
    assert _lost(error, cluster, Checkpoints(tmp_path)).startswith(
        "worker 0 (a:1) or worker 1 (b:2) was lost"
    )


def test_a_process_alone_shows_such_errors_as_they_are(tmp_path):
    with pytest.raises(tf.errors.InternalError), watched(ONE_PROCESS, Checkpoints(tmp_path)):
        raise tf.errors.InternalError(None, None, "a bug")
