"""A worker that is killed, or falls silent: the other ends in time, and the restart ends as if
nothing had happened.
"""

import contextlib
import signal

import pytest

from tests.system.kill_and_resume import (
    DEADLINE_S,
    assert_same_run,
    kill_and_compare,
    run_whole,
    started,
    wait_for_steps,
)
from tf_textgen.distribution.cluster import WORKER_LOST_EXIT_CODE
from tf_textgen.distribution.launcher import tf_configs
from tf_textgen.distribution.workers import WORKER_LOST_SECONDS
from tf_textgen.runs.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def whole(tmp_path_factory, request):
    return run_whole(tmp_path_factory.mktemp("two"), 2, request.config.getoption("kills") or 1)


def pytest_generate_tests(metafunc):
    """Kills under the launcher are asked for by `--kills`: by default the test of lost workers
    kills one without it.
    """
    if "launched_kill_seed" in metafunc.fixturenames:
        asked = metafunc.config.getoption("kills")
        metafunc.parametrize(
            "launched_kill_seed", [metafunc.config.getoption("kill_seed")] if asked else []
        )


def test_a_run_of_two_workers_of_which_one_is_killed_ends_bitwise_as_uninterrupted(
    whole, launched_kill_seed
):
    kill_and_compare(whole, launched_kill_seed)


@contextlib.contextmanager
def two_workers(line, outputs):
    """Without a launcher, which would end the other one itself."""
    with contextlib.ExitStack() as stack:
        configs = zip(outputs, tf_configs(2), strict=True)
        yield [
            stack.enter_context(started(line, output, TF_CONFIG=config))
            for output, config in configs
        ]


def lose(line, run, folder, number):
    """Sends the signal to worker 1 after a few steps; worker 0 says in time that it is lost."""
    outputs = [folder / f"{number.name}_{i}.txt" for i in range(2)]
    with two_workers(line, outputs) as (chief, other):
        wait_for_steps(run, 4, chief)
        other.send_signal(number)
        assert chief.wait(WORKER_LOST_SECONDS) == WORKER_LOST_EXIT_CODE
    (said,) = [line for line in outputs[0].read_text().splitlines() if line.startswith("error: ")]
    step = Checkpoints(run / "checkpoints").newest_whole()
    assert (
        said.startswith("error: worker 1 (")
        and " was lost, or ended with its own error: expected all 2 workers to answer; " in said
    )
    assert said.endswith(f"which continues from step {step}")


@pytest.mark.thorough
def test_a_lost_worker_ends_the_other_in_time_and_the_restart_ends_bitwise_as_uninterrupted(
    whole, tmp_path
):
    run = tmp_path / "run"
    line = whole.command(run, launches=False)
    lose(line, run, tmp_path, signal.SIGKILL)
    lose(line, run, tmp_path, signal.SIGSTOP)
    with two_workers(line, [tmp_path / "0.txt", tmp_path / "1.txt"]) as workers:
        assert [worker.wait(DEADLINE_S) for worker in workers] == [0, 0]
    assert_same_run(run, whole, 2)
