"""Relative paths of a run are found from any folder; checksums decide between two files."""

import hashlib

import pytest

from tf_textgen.data.data_config import DataConfig
from tf_textgen.runs.recorded_paths import locate_data, other_files


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def checksums(text):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"train": [[{"name": "x", "size": len(text), "sha256": digest}], []]}


@pytest.fixture
def recorded(tmp_path):
    """The data of a run that was trained in the folder `a`, with its paths."""
    data = DataConfig(train=("d/text.txt",))
    return data, {"d/text.txt": str(tmp_path / "a" / "d" / "text.txt")}


def test_from_another_folder_the_absolute_path_is_used(tmp_path, monkeypatch, recorded):
    data, paths = recorded
    text = write(tmp_path / "a" / "d" / "text.txt", "trained")
    write(tmp_path / "b" / "d" / "text.txt", "other")
    for folder in (tmp_path / "b", tmp_path):
        monkeypatch.chdir(folder)
        assert locate_data(data, paths, checksums("trained")).train == (str(text),)
    monkeypatch.chdir(tmp_path / "a")
    assert locate_data(data, paths, checksums("trained")) == data


def test_files_of_the_current_folder_that_are_not_the_runs_are_named(
    tmp_path, monkeypatch, recorded
):
    data, paths = recorded
    write(tmp_path / "a" / "d" / "text.txt", "trained")
    write(tmp_path / "b" / "d" / "text.txt", "other")
    (tmp_path / "c").mkdir()
    for folder, expected in (("a", []), ("b", [*paths.items()]), ("c", [])):
        monkeypatch.chdir(tmp_path / folder)
        assert other_files(data.train, paths) == expected
    # A run of 0.1.0 has no absolute paths.
    assert other_files(data.train, {}) == []


def test_files_that_were_moved_are_found_from_the_current_folder(tmp_path, monkeypatch, recorded):
    data, paths = recorded
    write(tmp_path / "b" / "d" / "text.txt", "trained")
    monkeypatch.chdir(tmp_path / "b")
    assert locate_data(data, paths, checksums("trained")).train == ("d/text.txt",)


def test_of_two_files_the_checksum_decides(tmp_path, monkeypatch, recorded):
    data, paths = recorded
    write(tmp_path / "a" / "d" / "text.txt", "changed since")
    write(tmp_path / "b" / "d" / "text.txt", "trained")
    monkeypatch.chdir(tmp_path / "b")
    assert locate_data(data, paths, checksums("trained")).train == ("d/text.txt",)
    neither = locate_data(data, paths, checksums("third"))
    assert neither.train == locate_data(data, paths, {}).train == (paths["d/text.txt"],)


def test_globs_are_found_too(tmp_path, monkeypatch):
    text = write(tmp_path / "a" / "x.txt", "trained")
    monkeypatch.chdir(tmp_path)
    data = DataConfig(train=("*.txt",))
    located = locate_data(data, {"*.txt": str(tmp_path / "a" / "*.txt")}, {})
    assert located.train == (str(text.parent / "*.txt"),)


def test_runs_without_recorded_paths_keep_those_that_were_given(tmp_path, monkeypatch, recorded):
    data, _ = recorded
    monkeypatch.chdir(tmp_path)
    assert locate_data(data, {}, {}) == data
