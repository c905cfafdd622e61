"""How many workers there are and how they end. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses

from tf_textgen.config import Config, field


@dataclasses.dataclass(frozen=True, kw_only=True)
class LauncherConfig(Config):
    """The workers of one training on this machine."""

    num_workers: int = field(
        2, "Workers to start; two are the fewest that share a training.", at_least=1, at_most=64
    )
    cores_per_worker: int = field(
        0,
        "CPU cores that each worker has to itself; 0 pins none, and each sees all cores.",
        at_least=0,
    )
    grace_s: float = field(
        30.0,
        "Seconds between SIGTERM and SIGKILL for the other workers when one has failed; 30 save a "
        "checkpoint.",
        at_least=0.0,
    )
