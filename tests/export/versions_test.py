"""The versions that are removed and those that stay."""

import pytest

from tf_textgen.export.versions import remove_old_versions, version_number, version_numbers


def make(root, *versions):
    for version in versions:
        (root / version).mkdir(parents=True)
        (root / version / "saved_model.pb").write_text("x")


@pytest.mark.parametrize(
    ("written", "keep", "left"),
    [
        (9, 2, {3, 5, 9}),
        (9, 1, {5, 9}),
        (9, 7, {1, 3, 5, 9}),
        (3, 1, {3, 5, 9}),
        (1, 1, {1, 5, 9}),
    ],
)
def test_the_newest_and_the_one_just_written_stay(tmp_path, written, keep, left):
    make(tmp_path, "1", "3", "5", "9")
    removed = remove_old_versions(tmp_path, written, keep)
    assert set(version_numbers(tmp_path)) == left
    assert set(removed) == {1, 3, 5, 9} - left
    assert not list(tmp_path.glob(".*"))


def test_other_folders_are_never_touched(tmp_path):
    make(tmp_path / "elsewhere", "2")
    root = tmp_path / "model"
    make(root, "4", "5", "notes", "007")
    # A version without a model.
    (root / "1").mkdir()
    (root / "3").write_text("a file")
    (root / "2").symlink_to(tmp_path / "elsewhere" / "2")
    before = {path for path in tmp_path.rglob("*") if "4" not in path.parts}
    assert remove_old_versions(root, 5, 0) == [4]
    assert set(tmp_path.rglob("*")) == before


def test_names_of_versions():
    names = {"0": 0, "7": 7, "007": None, "-1": None, "1.5": None, "": None, "9" * 18: 10**18 - 1}
    assert {name: version_number(name) for name in names} == names
    assert version_number("9" * 19) is None
