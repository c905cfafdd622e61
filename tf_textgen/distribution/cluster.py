"""Which machines train together: what the environment variable `TF_CONFIG` says. Imports no
TensorFlow.

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type":
    "worker", "index": 0}}'

Every machine is given the same list and its own index; the first of all (the `chief`, if there
is one) writes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tf_textgen.errors import UserError

WORKER_LOST_EXIT_CODE = 3
"""Exit code of a worker that stops because another one was lost: not the cause of a failure."""
_EXAMPLE = (
    'expected {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
)
_REFUSED = {
    "ps": "Keras 3 has no ParameterServerStrategy; name workers alone, which average their "
    "gradients in each step",
    "evaluator": "validation is part of `train`, on all workers; leave the evaluator out",
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Attributes:
      workers: their addresses, `HOST:PORT`, the chief first.
      index: which of them this process is.
      has_chief: whether the first is named `chief` in `TF_CONFIG`.
    """

    workers: tuple[str, ...] = ("localhost",)
    index: int = 0
    has_chief: bool = False

    @property
    def is_chief(self) -> bool:
        """Whether this process writes: checkpoints, logs, the record."""
        return self.index == 0

    def task(self, index: int) -> str:
        """What TensorFlow calls a worker in its errors."""
        if self.has_chief:
            return (
                f"/job:worker/replica:0/task:{index - 1}"
                if index
                else "/job:chief/replica:0/task:0"
            )
        return f"/job:worker/replica:0/task:{index}"


ALONE = Cluster()


def read_cluster(environment: Mapping[str, str]) -> Cluster:
    """The cluster that `TF_CONFIG` names; this process alone if it is not set, or empty.

    Raises:
      UserError: if it is damaged, or names tasks that do not train.
    """
    text = environment.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
        cluster = config.get("cluster") or {}
        task = config.get("task") or {}
        addresses = {kind: _addresses(cluster[kind]) for kind in cluster}
        alone = sum(map(len, addresses.values())) <= 1
        kind, index = (
            (task.get("type", "worker"), int(task.get("index", 0)))
            if alone
            else (task["type"], int(task["index"]))
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"TF_CONFIG={text[:80]!r} cannot be read ({error}); {_EXAMPLE}") from error
    if not addresses:
        return ALONE
    for refused, reason in _REFUSED.items():
        if refused in (kind, *addresses):
            raise UserError(f"TF_CONFIG names {refused!r}: {reason}")
    workers = [*addresses.get("chief", ()), *addresses.get("worker", ())]
    if (
        set(addresses) - {"chief", "worker"}
        or kind not in addresses
        or not 0 <= index < len(addresses[kind])
    ):
        listed = ", ".join(f"{len(values)} of {name!r}" for name, values in addresses.items())
        raise UserError(
            f"TF_CONFIG has the task {kind!r} {index} of a cluster with {listed}; {_EXAMPLE}"
        )
    if len(set(workers)) != len(workers) or len(addresses.get("chief", ())) > 1:
        raise UserError(
            f"TF_CONFIG names {', '.join(workers)}: expected each address once, and one chief at "
            "most"
        )
    has_chief = bool(addresses.get("chief"))
    return Cluster(tuple(workers), index + int(has_chief and kind == "worker"), has_chief)


def _addresses(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(
        isinstance(value, str) and ":" in value for value in values
    ):
        raise ValueError(f"{values!r} is no list of HOST:PORT")
    return values
