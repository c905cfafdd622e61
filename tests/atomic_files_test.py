"""Files and folders are whole or as before."""

import pytest

from tf_textgen import atomic_files


def listing(path):
    return {str(p.relative_to(path)): p.read_text() for p in path.rglob("*") if p.is_file()}


def test_text_is_replaced(tmp_path):
    for text in ("old", "new 中"):
        atomic_files.write_text(tmp_path / "file", text)
    assert listing(tmp_path) == {"file": "new 中"}


def test_a_temporary_file_is_removed_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_files.temporary_file(tmp_path / "a") as (_, file):
        file.write(b"half")
        raise KeyboardInterrupt
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder") as caught:
        atomic_files.write_text(tmp_path / "folder", "text")
    assert caught.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_failed_write_leaves_the_old_text(tmp_path):
    atomic_files.write_text(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_files.write_text(tmp_path / "file", "\ud800")
    assert listing(tmp_path) == {"file": "old"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for text in ("old", "new"):
        with atomic_files.new_folder(tmp_path / "folder") as folder:
            (folder / text).write_text(text)
            assert "new" not in {p.name for p in (tmp_path / "folder").glob("*")}
    assert listing(tmp_path) == {"folder/new": "new"}


def test_an_error_while_filling_leaves_the_old_folder(tmp_path):
    with atomic_files.new_folder(tmp_path / "folder") as folder:
        (folder / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_files.new_folder(tmp_path / "folder") as folder:
        (folder / "half").write_text("")
        raise KeyboardInterrupt
    assert listing(tmp_path) == {"folder/old": "old"} and len(list(tmp_path.iterdir())) == 1


def test_a_folder_may_hold_others(tmp_path):
    with atomic_files.new_folder(tmp_path / "folder") as folder:
        with atomic_files.new_folder(folder / "inner") as inner:
            (inner / "file").write_text("text")
        (folder / "file").write_text("outer")
    assert listing(tmp_path) == {"folder/file": "outer", "folder/inner/file": "text"}


def test_sha256_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        atomic_files.sha256(tmp_path / "abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_reason_is_free_of_tensorflows_names():
    full = "{{function_node __wrapped__SaveV2}} /run/.step-1.x/model.tempstate7; No space left on device [Op:SaveV2]"
    assert atomic_files.reason(RuntimeError(full)) == "No space left on device"
    assert atomic_files.reason(OSError(28, "No space left on device")) == "No space left on device"
    assert atomic_files.reason(RuntimeError()) == "RuntimeError"


def test_a_full_disk_is_told_with_the_files_name(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*a\.txt'"):
        atomic_files.write_text(tmp_path / "a.txt", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_text_that_cannot_be_written_is_told_by_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        atomic_files.write_text(tmp_path / "none" / "x", "text")
    assert caught.value.filename == str(tmp_path / "none" / "x")
