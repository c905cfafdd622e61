"""The machines that train together, as named by the environment variable `TF_CONFIG`. Does not
import TensorFlow.

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
                "task": {"type": "worker", "index": 0}}'

Every machine gets the same list and its own index. The first worker (the `chief`, if there is one)
writes the run folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tf_textgen.errors import UserError

WORKER_LOST_EXIT_CODE = 3
"""Exit code of a worker that stops because another one was lost."""
_EXPECTED = (
    'expected {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
)
_UNSUPPORTED = {
    "ps": (
        "Keras 3 has no ParameterServerStrategy; list workers only, which average their gradients "
        "in each step"
    ),
    "evaluator": "validation is part of `train`, on all workers; leave the evaluator out",
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Attributes:
      workers: their addresses, `HOST:PORT`, the chief first.
      index: the worker that this process is.
      has_chief: whether the first worker is named `chief` in `TF_CONFIG`.
    """

    workers: tuple[str, ...] = ("localhost",)
    index: int = 0
    has_chief: bool = False

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and the record."""
        return self.index == 0

    def task(self, index: int) -> str:
        """Returns the name of a worker in TensorFlow's errors."""
        if not self.has_chief:
            return f"/job:worker/replica:0/task:{index}"
        if index == 0:
            return "/job:chief/replica:0/task:0"
        return f"/job:worker/replica:0/task:{index - 1}"


ONE_PROCESS = Cluster()


def read_cluster(environment: Mapping[str, str]) -> Cluster:
    """Returns the cluster of `TF_CONFIG`, or `ONE_PROCESS` if that is not set or empty.

    Raises:
      UserError: if `TF_CONFIG` is damaged, or names tasks that do not train.
    """
    text = environment.get("TF_CONFIG", "")
    try:
        addresses, kind, index = _parse(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"TF_CONFIG={text[:80]!r} cannot be read ({error}); {_EXPECTED}") from error
    if not addresses:
        return ONE_PROCESS
    _check_task(addresses, kind, index)
    chiefs = addresses.get("chief", [])
    workers = [*chiefs, *addresses.get("worker", [])]
    if len(set(workers)) != len(workers) or len(chiefs) > 1:
        listed = ", ".join(workers)
        raise UserError(
            f"TF_CONFIG names {listed}: expected each address once, and one chief at most"
        )
    if kind == "worker":
        index += len(chiefs)
    return Cluster(tuple(workers), index, bool(chiefs))


def _parse(text: str) -> tuple[dict[str, list[str]], str, int]:
    """Returns the addresses of each kind of task, and kind and index of this process."""
    config = json.loads(text or "{}")
    addresses = {}
    for kind, values in (config.get("cluster") or {}).items():
        addresses[kind] = _checked_addresses(values)
    task = config.get("task") or {}
    # The task of the only process may be left out.
    if sum(map(len, addresses.values())) <= 1:
        task = {"type": "worker", "index": 0, **task}
    return addresses, task["type"], int(task["index"])


def _checked_addresses(values: Any) -> list[str]:
    is_list = isinstance(values, list)
    if not is_list or not all(isinstance(value, str) and ":" in value for value in values):
        raise ValueError(f"{values!r} is not a list of HOST:PORT")
    return values


def _check_task(addresses: Mapping[str, list[str]], kind: str, index: int) -> None:
    for unsupported, reason in _UNSUPPORTED.items():
        if unsupported in (kind, *addresses):
            raise UserError(f"TF_CONFIG names {unsupported!r}: {reason}")
    is_known = set(addresses) <= {"chief", "worker"} and kind in addresses
    if not is_known or not 0 <= index < len(addresses[kind]):
        listed = ", ".join(f"{len(values)} of {name!r}" for name, values in addresses.items())
        raise UserError(
            f"TF_CONFIG has the task {kind!r} {index} of a cluster with {listed}; {_EXPECTED}"
        )
