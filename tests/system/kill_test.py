"""A run that is killed or stopped again and again ends as if nothing had happened."""

import signal

import pytest

from tests.system.kill_and_resume import (
    assert_same_run,
    kill_and_compare,
    run_to_the_end,
    run_whole,
    started,
    wait_for_steps,
    wait_until,
)
from tf_textgen.runs.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def whole(tmp_path_factory, request):
    return run_whole(tmp_path_factory.mktemp("one"), 1, request.config.getoption("kills") or 2)


@pytest.mark.thorough
def test_killed_again_and_again_a_run_ends_bitwise_as_uninterrupted(whole, request):
    kill_and_compare(whole, request.config.getoption("kill_seed"))


def stop(line, run, output, number, exit_code):
    """Sends a signal after a few steps; the step is finished and saved, and said."""
    with started(line, output) as process:
        wait_for_steps(run, 3, process)
        process.send_signal(number)
        assert process.wait(60) == exit_code
    step = Checkpoints(run / "checkpoints").newest_whole()
    last = output.read_text().splitlines()[-1]
    assert last == f"{number.name}: saved step {step}; the same command again continues from there"


@pytest.mark.thorough
def test_a_run_stopped_by_signals_ends_bitwise_as_uninterrupted(whole, tmp_path):
    run, output = tmp_path / "run", tmp_path / "output.txt"
    line = whole.command(run)
    stop(line, run, output, signal.SIGTERM, 143)
    stop(line, run, output, signal.SIGINT, 130)
    saved = Checkpoints(run / "checkpoints").newest_whole()
    # Sampling so long a text is one operation, which no Python code interrupts.
    lengths = ("run.sample_tokens", "decoding.max_new_tokens", "decoding.min_new_tokens")
    endless = ["--run.samples=16", *(f"--{name}=1000000" for name in lengths)]
    with started([*line, *endless], tmp_path / "sampling.txt") as process:
        wait_until(lambda: ": validation" in (tmp_path / "sampling.txt").read_text(), process)
        process.send_signal(signal.SIGINT)
        with pytest.raises(TimeoutError):
            wait_for_steps(run, 1, process, seconds=5.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(2.0) == 130
    assert "\ninterrupted\n" in (tmp_path / "sampling.txt").read_text()
    assert Checkpoints(run / "checkpoints").newest_whole() >= saved
    run_to_the_end(line, output)
    assert_same_run(run, whole, 3)
