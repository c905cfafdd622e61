"""A checkpoint that a running training removes while it is read is replaced by the newest."""

import hashlib
import json

import pytest

from tf_textgen.errors import UserError
from tf_textgen.runs import checkpoint_folder
from tf_textgen.runs.checkpoint_folder import (
    CheckpointFolder,
    RemovedCheckpoint,
    retry_if_removed,
)


def write(directory, step):
    """A whole checkpoint of one file, made without the code under test."""
    folder = directory / f"step-{step:08d}"
    folder.mkdir(parents=True)
    content = f"weights of {step}".encode()
    (folder / "model.index").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    files = {"model.index": {"bytes": len(content), "sha256": digest}}
    manifest = {"files": files, "variables": {"model": {"w": [[1], "float32"]}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "state.json").write_text(json.dumps({"step": step}))


def mark(directory, step):
    (directory / "best.json").write_text(json.dumps({"step": step, "loss": 1.0}))


class Training:
    """Writes the next checkpoint and removes the one before when a reader computes a checksum."""

    def __init__(self, directory, monkeypatch, first, last, marks):
        self.directory = directory
        self.step = first
        self.last = last
        self.marks = marks
        write(directory, first)
        if marks:
            mark(directory, first)
        self.sha256 = checkpoint_folder.atomic_files.sha256
        monkeypatch.setattr(checkpoint_folder.atomic_files, "sha256", self.read)

    def read(self, path):
        if self.step < self.last:
            write(self.directory, self.step + 1)
            if self.marks:
                mark(self.directory, self.step + 1)
            before = self.directory / f"step-{self.step:08d}"
            for file in before.iterdir():
                file.unlink()
            before.rmdir()
            self.step += 1
        return self.sha256(path)


@pytest.mark.parametrize("which", ["best", "last"])
@pytest.mark.parametrize("marks", [False, True])
def test_a_checkpoint_removed_between_finding_and_reading_is_replaced(
    tmp_path, monkeypatch, caplog, which, marks
):
    Training(tmp_path, monkeypatch, 1, 5, marks)
    assert CheckpointFolder(tmp_path).find(which) == 5
    assert not caplog.records


def test_a_step_that_was_removed_is_an_error_that_lists_the_others(tmp_path, monkeypatch):
    Training(tmp_path, monkeypatch, 1, 2, False)
    with pytest.raises(UserError, match="'1': expected best, last or one of the steps 2"):
        CheckpointFolder(tmp_path).find("1")


def test_the_best_step_is_that_of_the_newest_mark(tmp_path, monkeypatch):
    write(tmp_path, 7)
    marked = iter([3, 7, 7])
    monkeypatch.setattr(CheckpointFolder, "_marked_step", lambda self: next(marked))
    assert CheckpointFolder(tmp_path).best_step() == 7


def test_a_marked_checkpoint_that_is_missing_for_good_is_none(tmp_path):
    write(tmp_path, 7)
    mark(tmp_path, 3)
    assert CheckpointFolder(tmp_path).best_step() is None
    assert CheckpointFolder(tmp_path).find("best") == 7


def test_errors_of_a_checkpoint_that_exists_are_raised_as_they_are(tmp_path):
    write(tmp_path, 7)
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(ValueError, match="other"), folder.reading(7):
        raise ValueError("other")
    removed = pytest.raises(RemovedCheckpoint, match="a run in training removes its older ones")
    with removed, folder.reading(8):
        raise FileNotFoundError(2, "No such file or directory")


def test_retrying_ends():
    calls = []

    def read():
        calls.append(1)
        raise RemovedCheckpoint("removed")

    with pytest.raises(RemovedCheckpoint):
        retry_if_removed(read)
    assert 10 < len(calls) < 1000
