"""What the workers of one machine share out: ports and cores."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence

from tf_textgen.errors import UserError

_HOST = "127.0.0.1"


def tf_configs(num_workers: int) -> list[str]:
    """The `TF_CONFIG` of each worker of a cluster on the loopback device.

    A port that another process takes before its worker does makes that worker fail, and is reported
    by it.
    """
    addresses = [f"{_HOST}:{port}" for port in _free_ports(num_workers)]
    cluster = {"worker": addresses}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(num_workers)
    ]


def _free_ports(count: int) -> list[int]:
    """Distinct, since all are held until the last one is chosen."""
    with contextlib.ExitStack() as held:
        sockets = [
            held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            for _ in range(count)
        ]
        for one in sockets:
            one.bind((_HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def cores_of_workers(num_workers: int, cores_per_worker: int) -> list[Sequence[int]]:
    """The numbers of each worker's own cores, of those that this process may use; none where none
    are pinned.

    Raises:
      UserError: if there are too few, or the platform cannot pin.
    """
    if not cores_per_worker:
        return [()] * num_workers
    came = f"--cores_per_worker={cores_per_worker}"
    if not hasattr(os, "sched_setaffinity"):
        raise UserError(f"{came}: this platform cannot pin processes to cores; expected 0")
    cores = sorted(os.sched_getaffinity(0))
    if num_workers * cores_per_worker > len(cores):
        raise UserError(
            f"{came}: {num_workers} workers would need {num_workers * cores_per_worker} cores, and "
            f"{len(cores)} may be used here; expected at most {len(cores) // num_workers}, or "
            "fewer workers"
        )
    return [cores[i * cores_per_worker : (i + 1) * cores_per_worker] for i in range(num_workers)]
