import json
import os
import socket

import pytest

from tf_textgen.distribution.local_cluster import cores_of_workers, tf_configs
from tf_textgen.errors import UserError


@pytest.mark.parametrize("count", [1, 64])
def test_workers_of_one_cluster(count):
    configs = [json.loads(config) for config in tf_configs(count)]
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": i} for i in range(count)
    ]
    (addresses,) = {tuple(config["cluster"]["worker"]) for config in configs}
    assert len(set(addresses)) == count and set(configs[0]["cluster"]) == {"worker"}
    assert all(
        host == "127.0.0.1" and 1024 <= int(port) < 65536
        for host, port in (a.split(":") for a in addresses)
    )


def test_no_port_is_left_occupied():
    """By this process: each is either free or was taken by another one since."""
    for config in tf_configs(8)[:1]:
        for address in json.loads(config)["cluster"]["worker"]:
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))) != 0


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 3, 4, 5, 8}, raising=False)
    assert cores_of_workers(2, 2) == [[3, 4], [5, 8]]
    assert cores_of_workers(5, 1) == [[3], [4], [5], [8], [9]]
    assert cores_of_workers(3, 0) == [(), (), ()]
    with pytest.raises(
        UserError, match="2 workers would need 6 cores, and 5 may be used here; expected at most 2"
    ):
        cores_of_workers(2, 3)


def test_a_platform_that_cannot_pin(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(
        UserError,
        match="--cores_per_worker=1: this platform cannot pin processes to cores; expected",
    ):
        cores_of_workers(2, 1)
    assert cores_of_workers(2, 0) == [(), ()]
