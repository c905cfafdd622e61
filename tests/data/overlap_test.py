"""The same text twice: within a split, and in two splits."""

import gzip
import os

import pytest

from tests.support.data_files import write
from tf_textgen.data import dataset
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.text.characters import CharacterTokenizer
from tf_textgen.text.words import WordTokenizer

LINES = [f"line {i} of the text\n" for i in range(40)]


def opened(tmp_path, tokenizer=None, splits=("train", "valid"), **fields):
    config = DataConfig(documents="line", cache_dir=str(tmp_path / "cache"), **fields)
    return dataset.open_corpus(config, tokenizer or ByteTokenizer(), splits)


@pytest.fixture
def text(tmp_path):
    return write(tmp_path / "a.txt", "".join(LINES))


def test_a_file_with_two_names_is_read_once(text, tmp_path, capsys):
    os.symlink("a.txt", tmp_path / "z.txt")
    splits = opened(tmp_path, train=(f"{tmp_path}/*.txt", f"{tmp_path}/./a.txt"))
    assert splits["train"].num_documents + splits["valid"].num_documents == len(LINES)
    assert capsys.readouterr().err.count("are the same file; it is read once") == 2


@pytest.mark.parametrize("packed", [True, False])
def test_the_same_text_in_two_files_is_an_error(text, tmp_path, packed):
    content = "".join(LINES).encode()
    if packed:
        copy = write(tmp_path / "b.txt.gz", gzip.compress(content))
    else:
        copy = write(tmp_path / "b.txt", content)
    with pytest.raises(
        UserError,
        match=r"--data.train: .*a.txt and .*b.txt.* contain the same "
        r"text",
    ):
        opened(tmp_path, train=(text, copy))
    with pytest.raises(UserError, match=r"--data.valid: b.txt.* contains the same text as a.txt"):
        opened(tmp_path, train=(text,), valid=(copy,))


def test_a_file_that_trains_cannot_validate(text, tmp_path):
    with pytest.raises(UserError, match=r"--data.valid: a.txt contains the same text as a.txt"):
        opened(tmp_path, train=(text,), valid=(text,))


def test_shared_documents_are_reported_with_their_share(text, tmp_path):
    known = LINES[3] + LINES[7]
    other = write(tmp_path / "valid.txt", known + "new line one\nanother new line\n")
    splits = opened(tmp_path, train=(text,), valid=(other,))
    shared = len(known) - 2
    share = shared / (shared + len("new line one") + len("another new line"))
    assert splits["valid"].overlap == pytest.approx(share)
    assert (
        splits["valid"]
        .summary()
        .endswith(f"{share:.1%} of the text overlaps with the training data")
    )
    assert splits["train"].overlap is None and "overlap" not in splits["train"].summary()


def test_shared_pairs_need_both_sides(tmp_path):
    train = write(tmp_path / "train.tsv", "one\tun\ntwo\tdeux\nthree\ttrois\n")
    valid = write(tmp_path / "valid.tsv", "one\tun\ntwo\tdos\ndeux\ttwo\n")
    splits = opened(tmp_path, train=(train,), valid=(valid,), format="tsv")
    assert splits["valid"].overlap == pytest.approx(2 / 8)


def test_the_last_share_of_one_document_is_cut_at_the_end_of_a_line(tmp_path):
    lines = [f"paragraph {i:03d}" for i in range(100)]
    path = write(tmp_path / "novel.txt", "\n".join(lines) + "\n")
    config = DataConfig(train=(path,), cache_dir=str(tmp_path / "cache"))
    splits = dataset.open_corpus(config, ByteTokenizer())
    texts = {}
    for name, split in splits.items():
        assert split.num_documents == 1
        tokens = split.read_documents("text", 0, 1)
        assert tokens[0] == split.bos_id and tokens[-1] == split.eos_id
        texts[name] = bytes((tokens[1:-1] - 5).astype("uint8")).decode()
    assert texts["train"] == "\n".join(lines[:95])
    assert texts["valid"] == "\n".join(lines[95:])


@pytest.mark.parametrize(
    ("tokenizer", "hidden"),
    [
        # Unknown are the characters of "中国" (3 bytes each), and the words "中国" and "a" (6 and 1).
        (CharacterTokenizer(["a", "b", " "]), 6),
        (WordTokenizer(["ab", "b", "<unk>"]), 7),
        (ByteTokenizer(), 0),
    ],
)
def test_bytes_that_unknown_tokens_hide(tmp_path, tokenizer, hidden):
    path = write(tmp_path / "a.txt", "ab b 中国 a\nb ab\n")
    split = opened(tmp_path, tokenizer, ("train",), train=(path,), validation_fraction=0.0)["train"]
    assert split.unknown_bytes == hidden


def test_a_written_mark_of_the_unknown_is_an_ordinary_word(tmp_path):
    path = write(tmp_path / "a.txt", "b <unk> b\n")
    tokenizer = WordTokenizer(["b", "<unk>"])
    split = opened(tmp_path, tokenizer, ("train",), train=(path,), validation_fraction=0.0)["train"]
    assert split.unknown_bytes == 0 and split.unknown_tokens() == 0
    assert "unknown" not in split.summary()


def test_the_summary_reports_the_share_of_unknown_tokens(tmp_path):
    path = write(tmp_path / "a.txt", "b b zz b\n")
    tokenizer = WordTokenizer(["b"])
    split = opened(tmp_path, tokenizer, ("train",), train=(path,), validation_fraction=0.0)["train"]
    assert split.unknown_tokens() == 1
    # Of five tokens, the end of the document included.
    assert split.summary().endswith("20.00% of the tokens unknown")
