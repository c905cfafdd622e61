"""The mean of a run's last checkpoints, as a run folder of its own.

The weights of one training circle around a minimum while its learning rate is large; their mean
lies nearer to it and costs nothing to train.

Reference: Vaswani et al. 2017, "Attention Is All You Need", section 6.1; Izmailov et al. 2018,
"Averaging Weights Leads to Wider Optima and Better Generalization".
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from tf_textgen import atomic_files
from tf_textgen.config import flag_line
from tf_textgen.errors import UserError
from tf_textgen.models.base import TextModel
from tf_textgen.runs.checkpoint_folder import retry_if_removed
from tf_textgen.runs.checkpoints import Checkpoints, by_path
from tf_textgen.runs.record import describe_origin
from tf_textgen.runs.recorded_config import RecordedConfig, write_config
from tf_textgen.runs.run_folder import make_model
from tf_textgen.runs.run_state import RunState


def last_steps(checkpoints: Checkpoints, count: int) -> list[int]:
    """The steps of the `count` newest whole checkpoints, oldest first.

    Raises:
      UserError: if there are fewer.
    """
    steps = sorted(retry_if_removed(lambda: list(islice(checkpoints.whole(), count))))
    if len(steps) < count:
        listed = f" (of steps {', '.join(map(str, steps))})" if steps else ""
        raise UserError(
            f"--last={count}: {checkpoints.directory} has {len(steps)} whole checkpoints{listed}, "
            f"expected at least {count}; ask for fewer, or train with "
            f"--run.keep_checkpoints={count}"
        )
    return steps


def restore_mean(checkpoints: Checkpoints, steps: Sequence[int], model: TextModel) -> RunState:
    """Sets a built model to the mean of its variables at `steps`, oldest first, and returns the
    state of the last.

    Sums are float64, and one checkpoint is in memory at a time. Integers (states of dropout) have
    no mean: they stay as the last checkpoint has them.

    Raises:
      UserError: if a checkpoint does not fit the model; a `RemovedCheckpoint` if a running training
        has removed it.
    """
    variables = {path: v for path, v in by_path(model.variables).items() if v.dtype.is_floating}
    sums = {path: np.zeros(variable.shape, np.float64) for path, variable in variables.items()}
    state = RunState()
    for step in steps:
        state = checkpoints.restore(step, model)
        for path, variable in variables.items():
            sums[path] += variable.numpy()
    for path, variable in variables.items():
        variable.assign(sums[path] / len(steps))
    return state


def write_average(
    source: Path, config: RecordedConfig, last: int, output: Path, flags: Sequence[str]
) -> list[int]:
    """Writes the mean of the last checkpoints of a run to a new run folder, which is whole or
    absent.

    Args:
      source: folder of the run.
      config: its configuration.
      last: number of checkpoints.
      output: folder to make.
      flags: those of the command, for the record.

    Returns:
      The steps averaged, oldest first.

    Raises:
      UserError: if there are too few whole checkpoints, or no room on the disk.
    """
    checkpoints = Checkpoints(source / "checkpoints")
    model = make_model(config)

    def restore() -> tuple[list[int], RunState]:
        found = last_steps(checkpoints, last)
        return found, restore_mean(checkpoints, found, model)

    steps, state = retry_if_removed(restore)
    about = {"averaged_run": str(source), "averaged_steps": steps}
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.new_folder(output) as folder:
        shutil.copytree(source / "tokenizer", folder / "tokenizer")
        if not config.tokenizer.shared:
            shutil.copytree(source / "source_tokenizer", folder / "source_tokenizer")
        # The best validation was that of one checkpoint, not of their mean.
        state = dataclasses.replace(state, best_step=None, best_loss=None, validations_since_best=0)
        Checkpoints(folder / "checkpoints").save(state, model)
        average = dataclasses.replace(
            config,
            run=dataclasses.replace(config.run, dir=str(output)),
            averaged_run=str(source),
            averaged_steps=tuple(steps),
        )
        write_config(folder, average)
        atomic_files.write_text(folder / "recipe.flags", _recipe(source, steps, output))
        origin = describe_origin("average", flags, config, model)
        atomic_files.write_json(
            folder / "run.json", {**origin, "steps": state.step, "tokens": state.tokens, **about}
        )
    return steps


def _recipe(source: Path, steps: Sequence[int], output: Path) -> str:
    """Returns the recipe of the run with another `--run.dir`, under a comment on its origin."""
    heading = [
        f"# The mean of the checkpoints of steps {', '.join(map(str, steps))} of {source}, made by "
        "average.",
        "# The run was trained with these flags; train accepts them with another --run.dir only.",
    ]
    lines = heading
    for line in (source / "recipe.flags").read_text("utf-8").splitlines():
        if line.startswith("--run.dir="):
            lines.append(flag_line("run.dir", str(output)))
        elif not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"
