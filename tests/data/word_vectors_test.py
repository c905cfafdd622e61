"""Word vectors out of text files, good and bad."""

import gzip

import numpy as np
import pytest

from tests.support.data_files import write
from tf_textgen.data.word_vectors import read_word_vectors
from tf_textgen.errors import UserError


def test_glove(tmp_path):
    path = write(tmp_path / "x.txt", "the 0.5 -1e-3\n, 1 2\nthe 7 7\nété 3 4\n. . 5 6\n")
    found = read_word_vectors(path, {"the", "été", ". .", "absent"})
    assert {word: row.tolist() for word, row in found.vectors.items()} == {
        "the": [0.5, np.float32(-1e-3)],
        "été": [3, 4],
        ". .": [5, 6],
    }
    assert (found.width, found.total) == (2, 5) and found.vectors["the"].dtype == np.float32


def test_word2vec_and_gzip(tmp_path):
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(b"2 3 \n</s> 0 0 1 \ncat 1 2 3 \n")
    found = read_word_vectors(str(tmp_path / "x.gz"), {"cat"})
    assert found.vectors["cat"].tolist() == [1, 2, 3] and (found.width, found.total) == (3, 2)


def test_a_broken_word_matches_nothing(tmp_path):
    path = write(tmp_path / "x.txt", b"ca\xff 1 2\ncat 3 4\n")
    assert list(read_word_vectors(path, {"cat", "ca"}).vectors) == ["cat"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "x.txt is empty: expected text"),
        (
            "a 1 2\nb 1\n",
            "x.txt:2: 1 values after 'b', expected 2 as in the rows before; correct the row or use "
            "another",
        ),
        ("a 1 2\nb 1 2 3\n", "x.txt:2: 3 values after 'b', expected 2 as in the rows before"),
        ("a 1 2\n\nb 1 2\n", "x.txt:2: 0 values after '', expected 2 as in the rows before"),
        ("words\nof a text\n", "x.txt:1: 0 values after 'words', expected a word and its numbers"),
        (
            "a plain text\n",
            "x.txt:1: 'plain': expected a finite number; correct the row or use another file",
        ),
        ("a 1 2\nb 1 x\n", "x.txt:2: 'x': expected a finite number"),
        ("a 1 2\nb nan 1\n", "x.txt:2: 'nan': expected a finite number"),
        ("a 1 2\nb 1 1e39\n", "x.txt:2: '1e39': expected a finite number"),
        (
            "3 2\na 1 2\nb 1 2\n",
            "x.txt: 2 words, expected 3 as in its first line; the file is incomplete",
        ),
        ("1 2\na 1 2 3\n", "x.txt:2: 3 values after 'a', expected 2 as in the rows before"),
        (
            b"3 2\n\0\1",
            "x.txt:2: a NUL byte at byte offset 4: expected UTF-8 text, this is binary data",
        ),
    ],
)
def test_bad_files(tmp_path, content, message):
    with pytest.raises(UserError) as caught:
        read_word_vectors(write(tmp_path / "x.txt", content), {"a", "b"})
    assert message in str(caught.value)


def test_no_such_file():
    with pytest.raises(
        UserError,
        match=r"cannot read /no/such: No such file or directory; expected a readable",
    ):
        read_word_vectors("/no/such", {"a"})
