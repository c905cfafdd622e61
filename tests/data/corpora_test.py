"""Corpora: the real path of a download by file:// addresses, checksums, splits, and the embedded
texts.
"""

import dataclasses
import gzip
import hashlib
import os
import pathlib
import zipfile

import pytest

from tf_textgen.data import corpora, embedded, fetch
from tf_textgen.data.corpus_table import CORPORA, Corpus, File
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.sources import Pairs
from tf_textgen.errors import UserError
from tf_textgen.text.english_chinese import grammar
from tf_textgen.text.grammar import Pair

TEXT = "first line\n第二行\n" * 50


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_corpus(url, data, packing, splits, **others):
    return Corpus(
        task="language model", language="en", licence="MIT", folder="lm/x", url=url, sha256=sha256(data),
        packing=packing, splits=splits, **others,
    )  # fmt: skip


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """A corpus `cut` whose download, served as file://, is cut into two parts."""
    data = TEXT.encode()
    (tmp_path / "input.txt").write_bytes(data)
    splits = {
        "train": File("train.txt", sha256(data[:700]), span=(0, 700)),
        "valid": File("valid.txt", sha256(data[700:]), span=(700, len(data))),
    }
    row = make_corpus((tmp_path / "input.txt").as_uri(), data, "span", splits, documents="file")
    monkeypatch.setattr(corpora, "CORPORA", {**CORPORA, "cut": row})
    return row


def all_files(folder):
    return sorted(
        os.path.relpath(os.path.join(d, f), folder)
        for d, _, names in os.walk(folder)
        for f in names
    )


def test_download_is_cut_into_splits(cut, tmp_path):
    found = corpora.resolve_corpus("cut", str(tmp_path / "data"))
    assert found.train == (str(tmp_path / "data/lm/x/train.txt"),)
    assert found.test == () and found.documents == "file" and found.format == "text"
    joined = b"".join(pathlib.Path(path).read_bytes() for path in found.train + found.valid)
    assert joined == TEXT.encode()
    assert all_files(tmp_path / "data") == ["lm/x/train.txt", "lm/x/valid.txt"]
    fields = found.data_fields()
    columns = {"source_column", "target_column", "first_turn_column"}
    assert fields.keys() == {"train", "valid", "test", "format", "documents", *columns}


def test_present_files_are_verified_and_not_downloaded(cut, tmp_path):
    first = corpora.resolve_corpus("cut", str(tmp_path / "data"))
    (tmp_path / "input.txt").unlink()
    packed = first.train[0] + ".gz"
    with open(first.train[0], "rb") as plain, gzip.open(packed, "wb") as out:
        out.write(plain.read())
    os.remove(first.train[0])
    again = corpora.resolve_corpus("cut", str(tmp_path / "data"))
    assert again.train == (packed,) and again.valid == first.valid


def test_changed_file_is_refused_and_kept(cut, tmp_path):
    found = corpora.resolve_corpus("cut", str(tmp_path / "data"))
    with open(found.valid[0], "a") as out:
        out.write("more")
    changed = pathlib.Path(found.valid[0]).read_bytes()
    with pytest.raises(
        UserError,
        match=r"valid.txt: the SHA-256 of its text is \w{64}, expected \w{64}; move it away",
    ):
        corpora.resolve_corpus("cut", str(tmp_path / "data"))
    assert pathlib.Path(found.valid[0]).read_bytes() == changed


def test_truncated_gz_is_an_error_in_one_line(cut, tmp_path):
    folder = tmp_path / "data/lm/x"
    folder.mkdir(parents=True)
    (folder / "train.txt.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    with pytest.raises(
        UserError, match=r"cannot read .*train.txt.gz: .*expected a readable text file"
    ):
        corpora.resolve_corpus("cut", str(tmp_path / "data"))


def test_wrong_checksum_leaves_nothing_behind(cut, tmp_path):
    (tmp_path / "input.txt").write_text("something else")
    with pytest.raises(
        UserError, match=r"input.txt has SHA-256 \w+, expected \w+: the file there has changed"
    ):
        corpora.resolve_corpus("cut", str(tmp_path / "data"))
    assert all_files(tmp_path / "data") == []


def test_no_network(cut, tmp_path):
    (tmp_path / "input.txt").unlink()
    with pytest.raises(
        UserError,
        match=r"input.txt cannot be downloaded \(.*\): expected an answer; check the network",
    ):
        corpora.resolve_corpus("cut", str(tmp_path / "data"))
    with pytest.raises(UserError, match=r"ftp://x: expected an address that begins with http"):
        fetch.download("ftp://x", "", str(tmp_path))


def test_wrong_part_is_not_kept(tmp_path, monkeypatch):
    (tmp_path / "input.txt").write_text(TEXT)
    row = make_corpus(
        (tmp_path / "input.txt").as_uri(),
        TEXT.encode(),
        "span",
        {"train": File("train.txt", "0" * 64, span=(0, 5))},
    )
    monkeypatch.setattr(corpora, "CORPORA", {"x": row})
    with pytest.raises(
        UserError, match=r"train.txt: the prepared file has SHA-256 \w+, expected 000"
    ):
        corpora.resolve_corpus("x", str(tmp_path / "data"))
    assert all_files(tmp_path / "data") == []


def test_zip_members(tmp_path, monkeypatch):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("x/wiki.train.raw", TEXT)
        out.writestr("x/wiki.test.raw", "test\n")
    splits = {
        "train": File("raw.train.txt", sha256(TEXT.encode()), member="x/wiki.train.raw"),
        "test": File("raw.test.txt", sha256(b"test\n"), member="x/wiki.test.raw"),
    }
    row = make_corpus(archive.as_uri(), archive.read_bytes(), "zip", splits)
    missing = make_corpus(
        archive.as_uri(), archive.read_bytes(), "zip", {"train": File("t.txt", "", member="no")}
    )
    monkeypatch.setattr(corpora, "CORPORA", {"x": row, "missing": missing})
    found = corpora.resolve_corpus("x", str(tmp_path / "data"))
    assert pathlib.Path(found.train[0]).read_text(encoding="utf-8") == TEXT and found.valid == ()
    assert all_files(tmp_path / "data") == ["lm/x/raw.test.txt", "lm/x/raw.train.txt"]
    with pytest.raises(
        UserError, match=r"archive has no readable no .*expected a zip archive with it"
    ):
        corpora.resolve_corpus("missing", str(tmp_path / "data"))


def test_files_of_a_public_folder(tmp_path, monkeypatch):
    (tmp_path / "public").mkdir()
    (tmp_path / "public/vocab.bpe").write_text("merges")
    row = Corpus(
        task="a byte-pair tokenizer", language="en", licence="MIT", url=(tmp_path / "public").as_uri() + "/",
        packing="folder", format="tokenizer", splits={"merges": File("m.bpe", sha256(b"merges"), member="vocab.bpe")},
    )  # fmt: skip
    monkeypatch.setattr(corpora, "CORPORA", {"tok": row})
    found = corpora.files("tok", str(tmp_path / "data"))
    assert pathlib.Path(found["merges"]).read_text() == "merges"
    with pytest.raises(
        UserError,
        match=r"--data.corpus=tok: expected a corpus of texts, this one is a byte-pair",
    ):
        corpora.resolve_corpus("tok", str(tmp_path / "data"))


def test_names_and_folders_that_do_not_exist(tmp_path):
    with pytest.raises(
        UserError,
        match=r"--data.corpus=tinyshakespear: unknown corpus; did you mean 'tinyshakespeare'",
    ):
        corpora.resolve_corpus("tinyshakespear")
    with pytest.raises(
        UserError,
        match=r"--data.corpus=qqq: unknown corpus: expected one of python_docs, grammar, "
        r"grammar_small, copy, ",
    ):
        corpora.resolve_corpus("qqq")
    with pytest.raises(
        UserError,
        match=r"--data.corpus=kdconv needs --data_dir.*python_docs, grammar, grammar_small",
    ):
        corpora.resolve_corpus("kdconv")
    with pytest.raises(
        UserError, match=r"corpus kdconv cannot be downloaded.*kdconv/train.tsv \(SHA-256 7518650e"
    ):
        corpora.resolve_corpus("kdconv", str(tmp_path))
    with pytest.raises(UserError, match="corpus grammar: expected a public corpus"):
        corpora.files("grammar", str(tmp_path))


def test_folder_that_cannot_be_written(cut, tmp_path):
    (tmp_path / "data").write_text("a file if a folder should be")
    with pytest.raises(UserError, match=r"cannot write to .*choose a folder that you can write to"):
        corpora.resolve_corpus("cut", str(tmp_path / "data"))
    with pytest.raises(
        UserError, match=r"cannot write to .*choose another folder with --data.cache_dir"
    ):
        corpora.resolve_corpus("python_docs", cache_dir=str(tmp_path / "data"))


@pytest.mark.parametrize("name", CORPORA)
def test_every_row_is_complete(name):
    row = CORPORA[name]
    assert row.task and row.language and row.licence
    assert row.packing in (None, "zip", "span", "folder")
    assert row.embedded or (row.url.startswith("https://") and row.splits and row.folder)
    assert (row.sha256 is not None) == (row.packing in ("zip", "span"))
    for file in row.splits.values():
        assert len(file.sha256) == 64 and not file.name.endswith(".gz")
        assert (file.member is not None) == (row.packing in ("zip", "folder"))
        assert (file.span is not None) == (row.packing == "span")


def test_python_docs_are_the_interpreters_own_topics(tmp_path):
    from pydoc_data.topics import topics

    found = corpora.resolve_corpus("python_docs", cache_dir=str(tmp_path))
    assert found.documents == "file" and found.format == "text"
    texts = {}
    for path in found.train + found.valid + found.test:
        texts[os.path.basename(path).removesuffix(".txt")] = pathlib.Path(path).read_text(
            encoding="utf-8"
        )
    assert {text.strip() for text in texts.values()} == {text.strip() for text in topics.values()}
    assert all(text.rstrip("\n") == topics[topic].rstrip("\n") for topic, text in texts.items())
    sizes = [
        sum(os.path.getsize(path) for path in paths)
        for paths in (found.train, found.valid, found.test)
    ]
    assert sizes[0] > 300_000 and min(sizes[1:]) > 5_000


def test_embedded_files_are_written_once_and_repaired(tmp_path):
    first = corpora.resolve_corpus("python_docs", cache_dir=str(tmp_path))
    stamp = os.stat(first.train[0]).st_mtime_ns
    assert corpora.resolve_corpus("python_docs", cache_dir=str(tmp_path)) == first
    assert os.stat(first.train[0]).st_mtime_ns == stamp
    with open(first.valid[0], "w") as out:
        out.write("damaged")
    assert corpora.resolve_corpus("python_docs", cache_dir=str(tmp_path)) == first
    assert pathlib.Path(first.valid[0]).read_text() != "damaged"
    assert len(os.listdir(tmp_path / "corpora")) == 1


@pytest.mark.parametrize("name", ["grammar", "grammar_small"])
def test_grammar_pairs(name, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "PAIR_COUNTS", {"train": 300, "valid": 20, "test": 30})
    found = corpora.resolve_corpus(name, cache_dir=str(tmp_path))
    assert found.format == "tsv" and (found.source_column, found.target_column) == (1, 2)
    written = grammar(**embedded.GRAMMARS[name])
    for (path,), count in zip((found.train, found.valid, found.test), (300, 20, 30), strict=True):
        pairs = [
            Pair(*line.split("\t"))
            for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines()
        ]
        assert len(pairs) == count
        assert all(written.conditional_nats(pair) < 40 for pair in pairs[:20])
    nats, tokens = (
        sum(map(written.conditional_nats, pairs)),
        sum(len(pair.target) + 1 for pair in pairs),
    )
    assert embedded.grammar_nats_per_token(name, "test") == pytest.approx(nats / tokens)


def test_with_corpus_fills_a_data_config(cut, tmp_path):
    plain = DataConfig(train=("a.txt",))
    assert corpora.with_corpus(plain) is plain
    asked = DataConfig(corpus="cut", batch_size=7, cache_dir=str(tmp_path))
    filled = corpora.with_corpus(asked, str(tmp_path / "data"))
    assert filled.train == (str(tmp_path / "data/lm/x/train.txt"),) and filled.documents == "file"
    assert filled.batch_size == 7 and filled.corpus == "cut"
    assert corpora.with_corpus(filled, str(tmp_path / "data")) == filled
    by_line = corpora.with_corpus(
        DataConfig(corpus="cut", documents="line"), str(tmp_path / "data")
    )
    assert by_line.documents == "line"
    with pytest.raises(
        UserError, match=r"--data.valid=b.txt with --data.corpus=cut: expected one of them"
    ):
        corpora.with_corpus(DataConfig(corpus="cut", valid=("b.txt",)), str(tmp_path / "data"))


def test_embedded_corpus_lies_in_the_cache_of_the_config(tmp_path):
    filled = corpora.with_corpus(DataConfig(corpus="python_docs", cache_dir=str(tmp_path)))
    assert all(path.startswith(str(tmp_path)) for path in filled.train)


def test_copy_pairs_are_random_strings_and_themselves(tmp_path):
    found = corpora.resolve_corpus("copy", cache_dir=str(tmp_path))
    for split, count in (("train", 40_000), ("valid", 2_000)):
        (path,) = getattr(found, split)
        with open(path, encoding="utf-8") as lines:
            pairs = [tuple(line.rstrip("\n").split("\t")) for line in lines]
        assert len(pairs) == count and all(source == target for source, target in pairs)
        assert {len(source) for source, _ in pairs} == set(range(1, 11))
        assert len({source for source, _ in pairs}) > 0.8 * count


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("sgd_subset", (b"<A> b", b"c")),
        ("kdconv", (b"<A> b", b"c")),
        ("chatterbot_english", (b"<A> a", b"b")),
        ("chatterbot_chinese", (b"<A> a", b"b")),
        ("debian_synopsis", (b"a", b"b")),
        ("scitldr_a", (b"c", b"d")),
    ],
)
def test_a_name_says_how_its_files_are_read(name, pair, tmp_path, monkeypatch):
    row = CORPORA[name]
    splits = {split: File(file.name, sha256(b"a\tb\tc\td\n")) for split, file in row.splits.items()}
    for file in splits.values():
        (tmp_path / row.folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / row.folder / file.name).write_text("a\tb\tc\td\n")
    monkeypatch.setattr(corpora, "CORPORA", {name: dataclasses.replace(row, splits=splits)})
    filled = corpora.with_corpus(DataConfig(corpus=name), str(tmp_path))
    assert next(iter(Pairs(filled, filled.train))) == pair
