"""The state of a run without its variables: `state.json` of a checkpoint.

Does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass
class RunState:
    """The progress of a run; the callbacks share one, and each checkpoint holds a copy.

    Attributes:
      step: optimizer updates done.
      total_steps: number of the last update; None while a budget in minutes is not yet known in
        steps.
      seconds: seconds trained, over all processes, validations included.
      tokens: target tokens trained on.
      best_step, best_loss: step and nats/token of the best validation.
      validations_since_best: for early stopping.
      early_stopped: whether that ended the run.
      minutes: the budget in minutes that `steps_for_minutes` was computed from.
      steps_for_minutes: that budget in steps.
      seconds_per_step: as timed for it.
    """

    step: int = 0
    total_steps: int | None = None
    seconds: float = 0.0
    tokens: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    validations_since_best: int = 0
    early_stopped: bool = False
    minutes: float | None = None
    steps_for_minutes: int | None = None
    seconds_per_step: float | None = None

    @property
    def finished(self) -> bool:
        return self.early_stopped or (
            self.total_steps is not None and self.step >= self.total_steps
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunState:
        known = {entry.name for entry in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
