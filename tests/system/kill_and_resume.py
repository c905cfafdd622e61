"""Runs of the real command that are killed at any moment and started again: when, and what must be
the same at the end.

A run in `tests/system` is a process of its own, or one that starts its workers; what it leaves is
read from its files.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from tf_textgen.runs.checkpoints import Checkpoints

REPOSITORY = pathlib.Path(__file__).parents[2]
TEXT = "".join(f"line {i} of {i * i} says the quick brown fox\n\n" for i in range(60))
# Those of one process hand their state from batch to batch, which a checkpoint then has to hold.
MODELS = {
    1: [
        "--model=rnn_lm",
        "--rnn_lm.width=8",
        "--rnn_lm.num_layers=1",
        "--rnn_lm.dropout=0.2",
        "--data.carry_state",
    ],
    2: [
        "--model=transformer_lm",
        *(
            f"--transformer_lm.{field}"
            for field in ("num_layers=1", "num_heads=2", "width=8", "max_positions=16")
        ),
        "--transformer_lm.dropout=0.2",
    ],
}
DEADLINE_S = 600.0  # of everything that is waited for: only a failing test takes so long
_POLL_S = 0.0005
_STEPS_PER_KILL = {1: 30, 2: 12}  # a process alone does several until a signal reaches it
_TIMES = ("seconds", "wall_time_s", "tokens_per_second", "command")


class Whole(NamedTuple):
    """A run without interruption, which others are compared with.

    Attributes:
      folder: of the text and its cache, which they share.
      workers: of each; chooses the model.
      kills: that a run with these flags can live through: a handful of steps apart.
    """

    folder: pathlib.Path
    workers: int
    kills: int

    @property
    def run(self) -> pathlib.Path:
        return self.folder / "whole"

    def command(self, run: pathlib.Path, *, launches: bool = True) -> list[str]:
        """A training in the folder `run`: checkpoints every 3 steps, a learning rate at which not
        each is the best.

        Args:
          launches: starts all workers, if there are several; otherwise it is the command of one
            of them.
        """
        flags = [
            f"--data.train={self.folder / 'text.txt'}",
            f"--data.cache_dir={self.folder / 'cache'}",
        ]
        flags += [
            "--data.context=16",
            "--data.batch_size=4",
            "--tokenizer.kind=characters",
            f"--run.dir={run}",
        ]
        flags += [
            "--optimizer.learning_rate=0.1",
            "--optimizer.warmup_steps=10",
            "--optimizer.ema_decay=0.9",
        ]
        flags += [
            f"--run.steps={_STEPS_PER_KILL[self.workers] * (1 + self.kills)}",
            "--run.checkpoint_every=3",
        ]
        flags += ["--run.validate_every=4", "--run.log_every=1", "--run.samples=0", "--run.xla=off"]
        launch = (
            ["launch", f"--num_workers={self.workers}", "--"]
            if launches and self.workers > 1
            else []
        )
        return [sys.executable, "-m", "tf_textgen", *launch, "train", *MODELS[self.workers], *flags]


def run_whole(folder: pathlib.Path, workers: int, kills: int) -> Whole:
    (folder / "text.txt").write_text(TEXT)
    whole = Whole(folder, workers, kills)
    run_to_the_end(whole.command(whole.run), folder / "whole.txt")
    return whole


@contextlib.contextmanager
def started(
    line: Sequence[str], output: pathlib.Path, **environment: str
) -> Iterator[subprocess.Popen]:
    """A process whose words are appended to `output`; it and its children are dead at the end."""
    with open(output, "ab") as file:
        process = subprocess.Popen(
            line,
            stdout=file,
            stderr=file,
            cwd=REPOSITORY,
            start_new_session=True,  # the terminal's Ctrl-C is for the test, whose end is the end of this too
            env={**os.environ, **environment},
        )
    try:
        yield process
    finally:
        for pid in [*children(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def children(pid: int) -> list[int]:
    """The processes that `pid` has started (of its main thread)."""
    try:
        return [
            int(child)
            for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def run_to_the_end(line: Sequence[str], output: pathlib.Path) -> None:
    with started(line, output) as process:
        code = process.wait(DEADLINE_S)
    assert code == 0, f"exit code {code}: {output.read_text()[-2000:]}"


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen, seconds: float = DEADLINE_S
) -> None:
    """Polls; a process that ends first fails the test, one that takes longer raises
    `TimeoutError`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, (
            f"the run ended with {process.returncode} before it could be killed"
        )
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain")
        time.sleep(_POLL_S)


def wait_for_steps(
    run: pathlib.Path, count: int, process: subprocess.Popen, seconds: float = DEADLINE_S
) -> None:
    """Until `count` more steps were measured (or a few more): each lengthens a file of
    `logs/train`.
    """

    def size() -> int:
        return sum(file.stat().st_size for file in (run / "logs" / "train").glob("events*"))

    for _ in range(count):
        before = size()
        wait_until(lambda before=before: size() > before, process, seconds)


def kill_at_start(
    run: pathlib.Path, process: subprocess.Popen, victim: int, rng: random.Random
) -> None:
    """While programs are loaded, files are read, graphs are traced."""
    time.sleep(rng.uniform(0.0, 4.0))
    os.kill(victim, signal.SIGKILL)


def kill_after_steps(
    run: pathlib.Path, process: subprocess.Popen, victim: int, rng: random.Random
) -> None:
    wait_for_steps(run, rng.randint(2, 9), process)
    os.kill(victim, signal.SIGKILL)


def kill_while_saving(
    run: pathlib.Path, process: subprocess.Popen, victim: int, rng: random.Random
) -> None:
    """At some moment between the making of a checkpoint's folder and its renaming."""
    wait_for_steps(run, rng.randint(1, 6), process)
    writer = int((run / "lock").read_text().split()[1])
    while True:
        wait_until(lambda: _unfinished(run), process)
        time.sleep(rng.uniform(0.0, 0.01))
        os.kill(writer, signal.SIGSTOP)
        time.sleep(0.01)  # the signal has arrived then
        if _unfinished(run):
            return os.kill(writer, signal.SIGKILL)
        os.kill(writer, signal.SIGCONT)


def _unfinished(run: pathlib.Path) -> bool:
    """Whether a checkpoint is being written, or was when its process died."""
    return any(path.suffix != ".removed" for path in (run / "checkpoints").glob(".step-*"))


_MOMENTS = (kill_while_saving, kill_after_steps, kill_at_start)


def kill_and_compare(whole: Whole, seed: int) -> None:
    """Starts a run and kills it, or one of its workers, `whole.kills` times; lets it end, and
    compares it.
    """
    run, output, rng = whole.folder / "killed", whole.folder / "killed.txt", random.Random(seed)
    print(f"--kill_seed={seed}; the words of the runs are in {output}")
    moments = [_MOMENTS[i % len(_MOMENTS)] for i in range(whole.kills)]
    rng.shuffle(moments)
    unfinished = 0
    for kill in moments:
        with started(whole.command(run), output) as process:
            wait_until(
                lambda process=process: whole.workers in (1, len(children(process.pid))), process
            )
            kill(run, process, rng.choice(children(process.pid) or [process.pid]), rng)
            assert process.wait(DEADLINE_S) != 0
        unfinished += _unfinished(run)
    run_to_the_end(whole.command(run), output)
    print(f"{unfinished} of {whole.kills} kills left an unfinished checkpoint")
    assert_same_run(run, whole, whole.kills)


def variables(run: pathlib.Path) -> dict[str, np.ndarray]:
    """All that the last checkpoint holds, by part and path."""
    checkpoints = Checkpoints(run / "checkpoints")
    folder = checkpoints.folder(checkpoints.find("last"))
    found = {}
    for part, shapes in json.loads((folder / "manifest.json").read_text())["variables"].items():
        reader = tf.train.load_checkpoint(str(folder / part))
        names = [
            name
            for name in reader.get_variable_to_shape_map()
            if "CHECKPOINTABLE_OBJECT_GRAPH" not in name
        ]
        assert len(names) == len(shapes)
        found |= {f"{part}: {name}": reader.get_tensor(name) for name in names}
    return found


def curves(run: pathlib.Path) -> dict[tuple[str, str], list[tuple[int, bytes]]]:
    """What TensorBoard reads: (`train` or `validation`, tag) -> steps and values in the order of
    the files.
    """
    found = {}
    for name in ("train", "validation"):
        events = EventAccumulator(str(run / "logs" / name), size_guidance={TENSORS: 0}).Reload()
        for tag in events.Tags()["tensors"]:
            found[name, tag] = [
                (event.step, event.tensor_proto.SerializeToString())
                for event in events.Tensors(tag)
            ]
    return found


def assert_same_run(run: pathlib.Path, whole: Whole, interruptions: int) -> None:
    """Weights, curves and records of `run` are those of the uninterrupted one, to the last bit."""
    actual, expected = variables(run), variables(whole.run)
    assert actual.keys() == expected.keys() and any("seed" in name for name in expected)
    different = [
        name for name, value in expected.items() if value.tobytes() != actual[name].tobytes()
    ]
    assert not different
    _assert_same_curves(curves(run), curves(whole.run), interruptions)
    last = Checkpoints(whole.run / "checkpoints").find("last")
    for name in ("run.json", "checkpoints/best.json", f"checkpoints/step-{last:08d}/state.json"):
        assert _without_times(run / name) == _without_times(whole.run / name)
    files = [
        sorted(path.name for path in (folder / "checkpoints").iterdir())
        for folder in (run, whole.run)
    ]
    assert files[0] == files[1]


def _assert_same_curves(actual, expected, interruptions: int) -> None:
    """Steps done twice show one value twice; no step is left out, and the axis goes back at
    interruptions alone.
    """
    assert actual.keys() == expected.keys() and ("train", "training/learning_rate") in actual
    for curve, points in expected.items():
        steps = [step for step, _ in actual[curve]]
        assert (
            sum(later <= earlier for earlier, later in itertools.pairwise(steps)) <= interruptions
        ), curve
        # Which a process does not know at its first step.
        if curve[1] != "training/tokens_per_second":
            assert set(actual[curve]) == set(points), curve


def _without_times(path: pathlib.Path) -> dict[str, object]:
    return {
        name: value for name, value in json.loads(path.read_text()).items() if name not in _TIMES
    }
