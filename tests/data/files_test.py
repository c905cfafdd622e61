import gzip
import hashlib

import pytest

from tests.support.data_files import write
from tf_textgen.data import files
from tf_textgen.errors import UserError


def test_globs_are_sorted_within_the_order_given_and_files_come_once(tmp_path):
    for name in ("b.txt", "a.txt", "z.md", "odd[1].txt"):
        write(tmp_path / name, "x\n")
    found = files.expand([f"{tmp_path}/z.md", f"{tmp_path}/[ab].txt", f"{tmp_path}/a*"], "data.train")
    assert found == [f"{tmp_path}/{name}" for name in ("z.md", "a.txt", "b.txt")]
    assert files.expand([f"{tmp_path}/odd[1].txt"], "data.train") == [f"{tmp_path}/odd[1].txt"]
    assert files.expand([], "data.train") == []


def test_glob_without_a_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(UserError, match=r"--data.valid=.*\*.txt: no such file; expected"):
        files.expand([f"{tmp_path}/*.txt"], "data.valid")
    with pytest.raises(UserError, match=r"--data.train=.* is a folder, expected files"):
        files.expand([str(tmp_path)], "data.train")


def test_line_ends_byte_order_mark_and_last_line(tmp_path):
    path = write(tmp_path / "a", b"\xef\xbb\xbfone\r\n\r\ntwo \xe4\xb8\xad\nmid\rdle\nlast")
    lines = list(files.TextFile(path).lines())
    assert lines == [(1, b"one"), (2, b""), (3, b"two \xe4\xb8\xad"), (4, b"mid\rdle"), (5, b"last")]


def test_gzip_is_unpacked(tmp_path):
    path = write(tmp_path / "a.gz", gzip.compress(b"one\ntwo\n"))
    assert [line for _, line in files.TextFile(path).lines()] == [b"one", b"two"]


# Named, since a gzip header holds the time: processes that collect the tests in two seconds would see two names.
@pytest.mark.parametrize("content", [b"not gzip\n", gzip.compress(b"one\n" * 9999)[:-20]], ids=["other", "cut"])
def test_broken_gzip_is_an_error(tmp_path, content):
    path = write(tmp_path / "a.gz", content)
    with pytest.raises(UserError, match=r"a.gz: cannot be read"):
        list(files.TextFile(path).lines())


def test_empty_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"a is empty: expected text"):
        list(files.TextFile(write(tmp_path / "a", "")).lines())


def test_binary_data_is_an_error_that_names_the_place(tmp_path):
    path = write(tmp_path / "a", b"one\ntw\0o\n")
    with pytest.raises(UserError, match=r"a:2: a NUL byte at byte offset 6: .*binary data or UTF-16"):
        list(files.TextFile(path).lines())


def test_invalid_utf8_is_an_error_that_names_the_place(tmp_path):
    path = write(tmp_path / "a", b"\xef\xbb\xbfone\r\ntw\xe4\xb8o\n")
    with pytest.raises(UserError, match=r"a:2: invalid UTF-8 at byte offset 10 \(0xe4\): .*invalid_utf8=replace"):
        list(files.TextFile(path).lines())


def test_invalid_utf8_is_replaced_and_counted(tmp_path):
    file = files.TextFile(write(tmp_path / "a", b"ok\ntw\xffo\n\xe4"), "replace")
    assert [line.decode() for _, line in file.lines()] == ["ok", "tw\ufffdo", "\ufffd"]
    assert file.replaced == 2


@pytest.mark.parametrize("letter", ["a", "中", "a中\U0001f600", "word "])
def test_long_lines_come_in_pieces_of_whole_characters(tmp_path, letter):
    text = letter * (3 * files.PIECE_BYTES // len(letter.encode()))
    file = files.TextFile(write(tmp_path / "a", f"short\n{text}\r\nlast"))
    pieces = list(file.pieces())
    assert [piece.number for piece in pieces] == [1, *[2] * (len(pieces) - 2), 3]
    assert [piece.begins for piece in pieces[:3]] == [True, True, False]
    assert b"".join(piece.text for piece in pieces[1:-1]).decode() == text
    for piece in pieces:
        assert piece.text.decode() and len(piece.text) <= files.PIECE_BYTES
    if letter == "word ":
        assert all(piece.text.endswith(b" ") for piece in pieces[1:-1])
    assert list(file.lines()) == [(1, b"short"), (2, text.encode()), (3, b"last")]


def test_carriage_return_on_the_border_of_a_piece(tmp_path):
    text = b"a" * (files.PIECE_BYTES - 1)
    assert list(files.TextFile(write(tmp_path / "a", text + b"\r\nb\n")).lines()) == [(1, text), (2, b"b")]


def test_paths_with_a_scheme_go_through_tensorflow(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo\n" * 20000)
    write(tmp_path / "b.txt.gz", gzip.compress(b"packed\n"))
    remote = f"file://{tmp_path}"
    assert files.is_remote(remote)
    assert len(list(files.TextFile(f"{remote}/a.txt").lines())) == 40000
    assert list(files.TextFile(f"{remote}/b.txt.gz").lines()) == [(1, b"packed")]
    assert files.digest(f"{remote}/a.txt") == files.digest(path)
    assert [found.rsplit("/", 1)[1] for found in files.expand([f"{remote}/*.txt"], "data.train")] == ["a.txt"]
    with pytest.raises(UserError, match="is a folder"):
        files.expand([remote], "data.train")
    with pytest.raises(UserError, match="no such file"):
        files.expand([f"{remote}/*.md"], "data.train")


def test_digest(tmp_path):
    content = b"x" * 3_000_000
    expected = {"name": "a", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert files.digest(write(tmp_path / "a", content)) == expected
    with pytest.raises(UserError, match="cannot be read"):
        files.digest(str(tmp_path / "missing"))
