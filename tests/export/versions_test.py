"""Which versions go, and what is never touched; what a server is started with."""

import json

import pytest

from tf_textgen.export.server_files import write_server_files
from tf_textgen.export.versions import remove_old_versions, version_numbers


def make(root, *versions):
    for version in versions:
        (root / version).mkdir(parents=True)
        (root / version / "saved_model.pb").write_text("x")


@pytest.mark.parametrize(
    ("written", "keep", "left"),
    [(9, 2, {3, 5, 9}), (9, 1, {5, 9}), (9, 7, {1, 3, 5, 9}), (3, 1, {3, 5, 9}), (1, 1, {1, 5, 9})],
)
def test_the_newest_and_the_one_just_written_stay(tmp_path, written, keep, left):
    make(tmp_path, "1", "3", "5", "9")
    gone = remove_old_versions(tmp_path, written, keep)
    assert {*version_numbers(tmp_path)} == left and {*gone} == {1, 3, 5, 9} - left
    assert not list(tmp_path.glob(".*"))


def test_what_is_no_version_is_never_touched(tmp_path):
    make(tmp_path / "elsewhere", "2")
    root = tmp_path / "model"
    make(root, "4", "5", "notes", "007")
    (root / "1").mkdir()  # without a model
    (root / "3").write_text("a file")
    (root / "2").symlink_to(tmp_path / "elsewhere" / "2")
    before = {path for path in tmp_path.rglob("*") if "4" not in path.parts}
    assert remove_old_versions(root, 5, 0) == [4]
    assert {*tmp_path.rglob("*")} == before


def test_server_files_are_written_once(tmp_path):
    root = tmp_path / 'a "b"'
    root.mkdir()
    write_server_files(root)
    models = (root / "models.config").read_text("utf-8")
    assert (
        f"name: {json.dumps(root.name)}\n" in models
        and f"base_path: {json.dumps(str(root))}\n" in models
    )
    assert "max_batch_size { value: 32 }" in (root / "batching_parameters.txt").read_text()
    (root / "batching_parameters.txt").write_text("tuned")
    write_server_files(root)
    assert (root / "batching_parameters.txt").read_text() == "tuned"
