import dataclasses

import pytest

from tests.support.data_files import write
from tf_textgen.data import sources
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.documents import CHUNK_BYTES, Documents
from tf_textgen.errors import UserError

TEXT = b" one\ntwo\n\n  \r\nthree\n\nfour\nfive"


def documents(config, *paths):
    whole, held = [], b""
    for chunk in Documents(config, paths):
        held += chunk.text
        if chunk.ends:
            whole.append(held)
            held = b""
    assert not held
    return whole


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("line", [b" one", b"two", b"three", b"four", b"five"]),
        ("blank_line", [b" one\ntwo", b"three", b"four\nfive"]),
        ("file", [b" one\ntwo\n\n  \nthree\n\nfour\nfive"]),
    ],
)
def test_what_ends_a_document(tmp_path, mode, expected):
    config = DataConfig(documents=mode)
    assert documents(config, write(tmp_path / "a", TEXT)) == expected
    other = write(tmp_path / "b", "\n\nother\n\n")
    last = [b"\n\nother\n\n"] if mode == "file" else [b"other"]
    assert documents(config, write(tmp_path / "a", TEXT), other) == expected + last


@pytest.mark.parametrize("mode", ["line", "blank_line", "file"])
@pytest.mark.parametrize(
    "line", [b"word " * 10 + b"end", b"w" * (1 << 18) + b"x", "中".encode() * (1 << 17)]
)
def test_long_documents_come_in_chunks(tmp_path, mode, line):
    lines = [line] * (2 * CHUNK_BYTES // len(line) + 2)
    path = write(tmp_path / "a", b"\n".join(lines) + b"\n\nshort\n")
    joined = b"\n".join(lines)
    expected = {
        "line": [*lines, b"short"],
        "blank_line": [joined, b"short"],
        "file": [joined + b"\n\nshort\n"],
    }[mode]
    config = DataConfig(documents=mode)
    assert documents(config, path) == expected
    for chunk in Documents(config, [path]):
        assert len(chunk.text) <= 2 * CHUNK_BYTES + 1
        chunk.text.decode()


def test_document_that_ends_with_a_chunk(tmp_path):
    line = b"a" * (CHUNK_BYTES - 1)
    path = write(tmp_path / "a", line + b"\n")
    chunks = list(Documents(DataConfig(documents="file"), [path]))
    assert b"".join(chunk.text for chunk in chunks) == line + b"\n"
    assert [chunk.ends for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_blank_file_is_an_error(tmp_path):
    path = write(tmp_path / "a", "\n \n")
    with pytest.raises(UserError, match="only blank lines: expected text"):
        list(Documents(DataConfig(), [path]))
    with pytest.raises(UserError, match="only blank lines: expected pairs"):
        list(sources.Pairs(DataConfig(format="tsv"), [path]))


def test_tsv_columns_count_from_one(tmp_path):
    path = write(tmp_path / "a.tsv", "1\tone\tun\r\n\n2\ttwo\tdeux\textra\n3\t\ttrois\n")
    assert list(sources.Pairs(DataConfig(format="tsv"), [path])) == [(b"1", b"one"), (b"2", b"two")]
    config = DataConfig(format="tsv", source_column=3, target_column=2)
    assert list(sources.Pairs(config, [path])) == [(b"un", b"one"), (b"deux", b"two")]


def test_tsv_row_without_a_column(tmp_path):
    path = write(tmp_path / "a.tsv", "one\tun\ntwo\n")
    with pytest.raises(
        UserError, match=r"a.tsv:2: 1 tab-separated column, expected at least 2 .*target_column=2"
    ):
        list(sources.Pairs(DataConfig(format="tsv"), [path]))
    config = DataConfig(format="tsv", source_column=3, target_column=1)
    with pytest.raises(
        UserError, match=r"a.tsv:1: 2 tab-separated columns, expected at least 3 .*source_column=3"
    ):
        list(sources.Pairs(config, [path]))


def test_parallel_files(tmp_path):
    config = DataConfig(format="parallel")
    source, target = (
        write(tmp_path / "a", "one\n\nthree\nfour"),
        write(tmp_path / "b", "un\ndeux\ntrois\n \u3000\n"),
    )
    pairs = sources.Pairs(config, [source], [target])
    assert list(pairs) == [(b"one", b"un"), (b"three", b"trois")] and pairs.empty == 2


@pytest.mark.parametrize("rows", ["one\t\n\ttwo\n", "\u3000\tx\n \ty\n"])
def test_empty_sides_alone_are_an_error(tmp_path, rows):
    path = write(tmp_path / "a.tsv", rows)
    with pytest.raises(
        UserError,
        match=r"a.tsv: all 2 pairs have an empty source or target: expected texts on both",
    ):
        list(sources.Pairs(DataConfig(format="tsv"), [path]))
    good = write(tmp_path / "b.tsv", "three\tfour\n")
    pairs = sources.Pairs(DataConfig(format="tsv"), [path, good])
    assert list(pairs) == [(b"three", b"four")] and pairs.empty == 2


DIALOGUES = "1\thi\thello\thow are you\n\n2\tjust me\n3\tone\t\tthree\n"


def test_dialogues_give_a_pair_a_reply(tmp_path):
    path = write(tmp_path / "a.tsv", DIALOGUES)
    pairs = sources.Pairs(DataConfig(format="dialogue", first_turn_column=2), [path])
    assert list(pairs) == [
        (b"<A> hi", b"hello"),
        (b"<A> hi\n<B> hello", b"how are you"),
        (
            b"<A> one\n<B>",
            b"three",
        ),  # an empty turn is no reply, but the other one answers after it
    ]
    assert (pairs.no_reply, pairs.empty) == (1, 1)
    second = DataConfig(format="dialogue", first_turn_column=2, reply_of="second")
    assert list(sources.Pairs(second, [path])) == [(b"<A> hi", b"hello")]


def test_dialogues_without_a_reply_are_an_error(tmp_path):
    path = write(tmp_path / "a.tsv", "1\thi\n2\thi\n")
    config = DataConfig(format="dialogue", first_turn_column=2)
    with pytest.raises(
        UserError,
        match=r"a.tsv: none of the 2 dialogues has a reply \(--data.reply_of=both, .*column=2\): "
        r"expected",
    ):
        list(sources.Pairs(config, [path]))
    with pytest.raises(UserError, match="none of the 2 dialogues has a reply"):
        list(sources.training_texts(dataclasses.replace(config, train=(path,))))
    assert list(sources.Pairs(DataConfig(format="dialogue"), [path])) == [
        (b"<A> 1", b"hi"),
        (b"<A> 2", b"hi"),
    ]
    with pytest.raises(UserError, match="only blank lines: expected dialogues"):
        list(sources.Pairs(config, [write(tmp_path / "b.tsv", "\n\n")]))


@pytest.mark.parametrize(("few", "many"), [("source", "target"), ("target", "source")])
def test_parallel_files_of_unequal_length(tmp_path, few, many):
    paths = {few: write(tmp_path / few, "1\n2\n"), many: write(tmp_path / many, "1\n2\n3\n4\n5")}
    counts = {few: 2, many: 5}
    message = (
        f"source has {counts['source']} lines and .*target {counts['target']}: expected as many; "
        f"the first line without a partner is .*{many}:3$"
    )
    with pytest.raises(UserError, match=message):
        list(sources.Pairs(DataConfig(format="parallel"), [paths["source"]], [paths["target"]]))


def test_split_files(tmp_path):
    for name in ("a.en", "b.en", "a.fr"):
        write(tmp_path / name, "x\n")
    config = DataConfig(
        format="parallel", train=(f"{tmp_path}/a.en",), train_target=(f"{tmp_path}/a.fr",)
    )
    assert sources.split_files(config, "train") == ([f"{tmp_path}/a.en"], [f"{tmp_path}/a.fr"])
    with pytest.raises(
        UserError, match=r"no data for the split 'test': expected files; set --data.test"
    ):
        sources.split_files(config, "test")
    uneven = DataConfig(
        format="parallel", train=(f"{tmp_path}/*.en",), train_target=(f"{tmp_path}/a.fr",)
    )
    with pytest.raises(
        UserError, match=r"data.train names 2 files and --data.train_target 1: expected one"
    ):
        sources.split_files(uneven, "train")


def test_replaced_lines_are_counted_over_files(tmp_path):
    bad, good = write(tmp_path / "bad", b"\xff\tx\n\xfe\ty\n"), write(tmp_path / "good", "a\tb\n")
    text = Documents(DataConfig(invalid_utf8="replace"), [bad, good, bad])
    pairs = sources.Pairs(DataConfig(format="tsv", invalid_utf8="replace"), [bad, good])
    assert len(list(text)) == 3 and text.replaced == 4
    assert len(list(pairs)) == 3 and pairs.replaced == 2


def test_training_texts(tmp_path):
    path = write(tmp_path / "a", "one\ttwo\nthree\tfour\n\nfive\tsix\n")
    assert list(sources.training_texts(DataConfig(train=(path,)))) == [
        b"one\ttwo\nthree\tfour",
        b"five\tsix",
    ]
    config = DataConfig(train=(path,), format="tsv")
    assert list(sources.training_texts(config)) == [
        b"one",
        b"two",
        b"three",
        b"four",
        b"five",
        b"six",
    ]
    assert list(sources.training_texts(config, "source")) == [b"one", b"three", b"five"]
    assert list(sources.training_texts(config, "target")) == [b"two", b"four", b"six"]
    config = DataConfig(train=(path,), format="dialogue")
    assert list(sources.training_texts(config))[1:] == [
        b"<A> three\n<B> four",
        b"<A> five\n<B> six",
    ]
    assert list(sources.training_texts(config, "target")) == [b"two", b"four", b"six"]
