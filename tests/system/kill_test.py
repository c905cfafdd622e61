"""A run that is killed again and again ends as if nothing had happened."""

import random

from tests.system.kill_and_resume import arguments, assert_same_run, command, kill_again_and_again, run_to_the_end


def live_through(folder, workers, kills, seed):
    """Runs once without interruption and once with `kills`, and compares."""
    whole, run, output = folder / "whole", folder / "run", folder / "output.txt"
    run_to_the_end(command(arguments(folder, whole, workers, kills), workers), output)
    line = command(arguments(folder, run, workers, kills), workers)
    print(f"seed {seed}; the runs' words are in {output}")
    unfinished = kill_again_and_again(line, run, output, kills, random.Random(seed))
    print(f"{unfinished} of {kills} kills left an unfinished checkpoint")
    assert_same_run(run, whole, kills)


def test_killed_again_and_again_a_run_ends_bitwise_as_uninterrupted(tmp_path, request):
    live_through(tmp_path, 1, request.config.getoption("kills") or 3, request.config.getoption("kill_seed"))
