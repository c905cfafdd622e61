"""Lines of text files: ends of lines, byte order marks, blank lines, long lines, bad bytes."""

import gzip

import pytest

from tests.support.data_files import write
from tf_textgen.data.text_file import PIECE_BYTES, TextFile, is_blank
from tf_textgen.errors import UserError


def lines(path):
    return [text for _, text in TextFile(path).lines()]


def test_line_ends_byte_order_mark_and_last_line(tmp_path):
    path = write(tmp_path / "a", b"\xef\xbb\xbfone\r\n\r\ntwo \xe4\xb8\xad\nmid\rdle\nlast")
    lines = list(TextFile(path).lines())
    assert lines == [
        (1, b"one"),
        (2, b""),
        (3, b"two \xe4\xb8\xad"),
        (4, b"mid\rdle"),
        (5, b"last"),
    ]


def test_gzip_is_unpacked(tmp_path):
    path = write(tmp_path / "a.gz", gzip.compress(b"one\ntwo\n"))
    assert [line for _, line in TextFile(path).lines()] == [b"one", b"two"]


# Named, since a gzip header holds the time: processes that collect the tests in two seconds would
# see two names.
@pytest.mark.parametrize(
    "content", [b"not gzip\n", gzip.compress(b"one\n" * 9999)[:-20]], ids=["other", "cut"]
)
def test_broken_gzip_is_an_error(tmp_path, content):
    path = write(tmp_path / "a.gz", content)
    with pytest.raises(UserError, match=r"a.gz is not a gzip file|cannot read .*a.gz"):
        list(TextFile(path).lines())


def test_empty_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"a is empty: expected text"):
        list(TextFile(write(tmp_path / "a", "")).lines())


def test_binary_data_is_an_error_that_names_the_place(tmp_path):
    path = write(tmp_path / "a", b"one\ntw\0o\n")
    with pytest.raises(
        UserError, match=r"a:2: a NUL byte at byte offset 6: .*binary data or UTF-16"
    ):
        list(TextFile(path).lines())


def test_invalid_utf8_is_an_error_that_names_the_place(tmp_path):
    path = write(tmp_path / "a", b"\xef\xbb\xbfone\r\ntw\xe4\xb8o\n")
    with pytest.raises(
        UserError, match=r"a:2: invalid UTF-8 at byte offset 10 \(0xe4\): .*invalid_utf8=replace"
    ):
        list(TextFile(path).lines())


def test_invalid_utf8_is_replaced_and_counted(tmp_path):
    file = TextFile(write(tmp_path / "a", b"ok\ntw\xffo\n\xe4"), "replace")
    assert [line.decode() for _, line in file.lines()] == ["ok", "tw\ufffdo", "\ufffd"]
    assert file.replaced == 2


@pytest.mark.parametrize("letter", ["a", "中", "a中\U0001f600", "word "])
def test_long_lines_come_in_pieces_of_whole_characters(tmp_path, letter):
    text = letter * (3 * PIECE_BYTES // len(letter.encode()))
    file = TextFile(write(tmp_path / "a", f"short\n{text}\r\nlast"))
    pieces = list(file.pieces())
    assert [piece.number for piece in pieces] == [1, *[2] * (len(pieces) - 2), 3]
    assert [piece.begins for piece in pieces[:3]] == [True, True, False]
    assert b"".join(piece.text for piece in pieces[1:-1]).decode() == text
    for piece in pieces:
        assert piece.text.decode() and len(piece.text) <= PIECE_BYTES
    if letter == "word ":
        assert all(piece.text.endswith(b" ") for piece in pieces[1:-1])
    assert list(file.lines()) == [(1, b"short"), (2, text.encode()), (3, b"last")]


def test_carriage_return_on_the_border_of_a_piece(tmp_path):
    text = b"a" * (PIECE_BYTES - 1)
    assert list(TextFile(write(tmp_path / "a", text + b"\r\nb\n")).lines()) == [
        (1, text),
        (2, b"b"),
    ]


def test_cr_is_the_end_of_a_line_if_there_is_no_lf(tmp_path):
    path = write(tmp_path / "a", b"one\rtwo\r\rfour")
    assert lines(path) == [b"one", b"two", b"", b"four"]


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\v", "\f"])
def test_other_separators_are_no_ends_of_lines(tmp_path, character):
    text = f"one{character}two"
    assert lines(write(tmp_path / "a", f"{text}\nthree\n")) == [text.encode(), b"three"]


def test_byte_order_marks_of_joined_files_are_removed(tmp_path):
    mark = b"\xef\xbb\xbf"
    content = mark + b"one\n" + mark + mark + b"two\nth" + mark + b"ree\n"
    file = TextFile(write(tmp_path / "a", content))
    assert [text for _, text in file.lines()] == [b"one", b"two", b"th" + mark + b"ree"]
    assert file.marks == 1


def test_byte_order_mark_of_a_second_gzip_member_is_removed(tmp_path):
    member = gzip.compress("\ufeffline\n".encode())
    assert lines(write(tmp_path / "a.gz", member + member)) == [b"line", b"line"]


@pytest.mark.parametrize("text", ["", " ", "\t", "\u3000", "\u00a0 \u2003", "\u2028\x1c"])
def test_blank(text):
    assert is_blank(text.encode())


@pytest.mark.parametrize("text", ["a", "\u3000a", "中", "\u200b", "\x00", " . "])
def test_not_blank(text):
    assert not is_blank(text.encode())
