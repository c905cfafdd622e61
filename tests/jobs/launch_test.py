"""The command line of `launch`, and workers that find their flags wrong before they would import
TensorFlow.
"""

import os
import subprocess
import sys

import pytest

from tests.support.data_files import write
from tf_textgen.distribution.launcher import Launcher, LauncherConfig
from tf_textgen.jobs import launch, main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no job to launch: expected train with its flags after --"),
        (["--"], "no job to launch: expected train with its flags after --"),
        (
            ["train", "--run.steps=1"],
            "unexpected argument 'train': launch takes flags, then --, then another job and",
        ),
        (["--run.steps=1"], "Unknown command line flag 'run.steps'"),
        (["--", "trian"], "cannot launch 'trian': expected train; did you mean 'train'?"),
        (["--", "launch", "--", "train"], "cannot launch 'launch': expected train"),
        (["--", "evaluate"], "cannot launch 'evaluate': expected train"),
        (
            ["--", "train", "--run.stepz=1"],
            "Unknown command line flag 'run.stepz'. Did you mean: run.steps",
        ),
        (
            ["--", "train", "extra"],
            "unexpected argument 'extra': train takes flags only, as --name=value",
        ),
        (["--", "train", "--run.steps=1", "--flagfile=x"], "expected --flagfile as the first flag"),
        (
            ["--", "train", "--helpshort"],
            "cannot launch a help text: python -m tf_textgen train --helpshort shows it",
        ),
        (
            ["--num_workers=0", "--", "train"],
            "--num_workers=0: expected a value at least 1 and at most 64",
        ),
        (
            ["--num_workers=65", "--", "train"],
            "--num_workers=65: expected a value at least 1 and at most 64",
        ),
        (["--grace_s=-1", "--", "train"], "--grace_s=-1: expected a value at least 0"),
        (
            ["--cores_per_worker=-1", "--", "train"],
            "--cores_per_worker=-1: expected a value at least 0",
        ),
        (["--cores_per_worker=99999", "--", "train"], "2 workers would need 199998 cores"),
    ],
)
def test_bad_command_lines_start_nothing(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(Launcher, "run", None)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert main(["launch", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.startswith("error: ") and shown.count("\n") == 1


def test_a_cluster_is_not_launched_again(monkeypatch, capsys):
    monkeypatch.setattr(Launcher, "run", None)
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert main(["launch", "--", "train"]) == 2
    assert (
        "error: TF_CONFIG is set: launch sets it for the workers of one machine; unset"
        in capsys.readouterr().err
    )


def test_each_worker_runs_the_same_command(monkeypatch, tmp_path):
    launched = []

    class _Launcher:
        def __init__(self, *arguments):
            launched.append(arguments)

        def run(self):
            return 7

    monkeypatch.setattr(launch, "Launcher", _Launcher)
    job = [
        "train",
        f"--flagfile={write(tmp_path / 'recipe.flags', '--run.steps=3')}",
        "--run.dir=a b",
    ]
    assert main(["launch", "--num_workers=3", "--grace_s=2.5", "--", *job]) == 7
    assert launched == [
        (
            [sys.executable, "-m", "tf_textgen", *job],
            LauncherConfig(num_workers=3, grace_s=2.5),
        )
    ]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_that_refuse_their_flags(num_workers):
    """`--run.dir` below a file is found by the job itself, in each worker."""
    command = [sys.executable, "-m", "tf_textgen", "launch", f"--num_workers={num_workers}", "--"]
    command += ["train", "--run.steps=1", f"--run.dir={__file__}/a"]
    done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    reason = (
        f"--run.dir={__file__}/a: Not a directory; expected a folder that can be made and written"
    )
    assert f"[worker 0] error: {reason}" in lines or f"[worker 1] error: {reason}" in lines
    assert lines[-1].endswith(f" of {num_workers} failed first, by exit code 2")
