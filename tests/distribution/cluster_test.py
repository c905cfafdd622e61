import json

import pytest

from tf_textgen.distribution.cluster import ONE_PROCESS, Cluster, read_cluster
from tf_textgen.errors import UserError


def read(**config):
    return read_cluster({"TF_CONFIG": json.dumps(config)})


@pytest.mark.parametrize(
    "environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, {"TF_CONFIG": '{"cluster": {}}'}]
)
def test_without_a_cluster_a_process_trains_alone(environment):
    assert read_cluster(environment) is ONE_PROCESS
    assert ONE_PROCESS.is_chief


def test_workers_in_their_order():
    workers = {"worker": ["a:1", "b:2"]}
    assert read(cluster=workers, task={"type": "worker", "index": 1}) == Cluster(("a:1", "b:2"), 1)
    assert read(cluster=workers, task={"type": "worker", "index": "0"}).is_chief
    assert read(cluster={"worker": ["a:1"]}) == Cluster(("a:1",), 0)
    assert (
        read(cluster=workers, task={"type": "worker", "index": 0}).task(1)
        == "/job:worker/replica:0/task:1"
    )


def test_the_chief_comes_first():
    cluster = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    chief = read(cluster=cluster, task={"type": "chief", "index": 0})
    assert chief == Cluster(("a:1", "b:2", "c:3"), 0, has_chief=True)
    second = read(cluster=cluster, task={"type": "worker", "index": 1})
    assert (second.index, second.is_chief) == (2, False)
    assert [second.task(i) for i in range(3)] == [
        "/job:chief/replica:0/task:0",
        "/job:worker/replica:0/task:0",
        "/job:worker/replica:0/task:1",
    ]


FIRST = '"task": {"type": "worker", "index": 0}'


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("no json", "TF_CONFIG='no json' cannot be read .*; expected {"),
        ("[]", r"TF_CONFIG='\[\]' cannot be read"),
        ('{"cluster": {"worker": "a:1"}}', r"cannot be read \('a:1' is not a list of HOST:PORT\)"),
        (
            '{"cluster": {"worker": ["a"]}}',
            r"cannot be read \(\['a'\] is not a list of HOST:PORT\)",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"index": 1}}',
            "the task 'worker' 1 of a cluster with 1 of 'worker'",
        ),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"index": "x"}}', "cannot be read"),
        (
            '{"cluster": {"tpu": ["a:1"]}, "task": {"type": "tpu"}}',
            "the task 'tpu' 0 of a cluster with 1 of 'tpu'",
        ),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', r"cannot be read \('type'\); expected"),
        (
            '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
            "names a:1, a:1: expected each address once",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": '
            "0}}",
            "names 'ps': Keras 3 has no ParameterServerStrategy",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator"}}',
            "names 'evaluator': validation is part of",
        ),
    ],
)
def test_what_cannot_train_is_told(config, message):
    with pytest.raises(UserError, match=message):
        read_cluster({"TF_CONFIG": config})
