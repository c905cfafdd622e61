import dataclasses

import numpy as np
import pytest

from tests.support.data_files import (
    BOS,
    EOS,
    CountingTokenizer,
    ids,
    random_texts,
    stream_of,
    write,
)
from tests.support.thorough import cases
from tf_textgen.data import documents, token_cache, token_streams, tokenizing
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.text.characters import CharacterTokenizer


@pytest.mark.parametrize("mode", ["line", "blank_line", "file"])
@pytest.mark.parametrize("shard_tokens", [5, 1000])
def test_batches_and_chunks_make_no_difference(tmp_path, monkeypatch, mode, shard_tokens):
    texts = random_texts(60, 40)
    path = write(
        tmp_path / "a.txt", b"\n\n".join(b"\n".join(texts[i : i + 3]) for i in range(0, 60, 3))
    )
    monkeypatch.setattr(tokenizing, "_BATCH_BYTES", 64)
    monkeypatch.setattr(tokenizing, "_BATCH_TEXTS", 3)
    monkeypatch.setattr(documents, "CHUNK_BYTES", 50)
    monkeypatch.setattr(token_streams, "SHARD_TOKENS", shard_tokens)
    config = DataConfig(train=(path,), documents=mode, cache_dir=str(tmp_path / "cache"))
    opened = token_cache.open_shards(config, ByteTokenizer(), "train")
    content = (tmp_path / "a.txt").read_bytes()
    expected = {"line": texts, "blank_line": content.split(b"\n\n"), "file": [content]}[mode]
    assert stream_of(opened, "text") == [
        token for text in expected for token in (BOS, *ids(text), EOS)
    ]
    assert np.diff(opened.streams["text"].offsets).tolist() == [len(text) + 2 for text in expected]
    assert np.diff(opened.streams["text"].bytes).tolist() == [len(text) for text in expected]


@pytest.mark.parametrize("form", cases(("text", "dialogue"), always=["text"]))
def test_more_processes_write_the_same_files(tmp_path, monkeypatch, form):
    monkeypatch.setattr(tokenizing, "_BATCH_BYTES", 64)
    monkeypatch.setattr(tokenizing, "_BATCH_TEXTS", 5)
    monkeypatch.setattr(documents, "CHUNK_BYTES", 50)
    monkeypatch.setattr(token_streams, "SHARD_TOKENS", 100)
    separator = {"text": b"\n", "dialogue": b"\t"}[form]
    rows = [separator.join(random_texts(4, 40, seed)) for seed in range(40)]
    path = write(tmp_path / "a.txt", b"\n\n".join(rows))
    tokenizers = (
        ByteTokenizer(),
        CharacterTokenizer(list("abcdefxyz \n")) if form == "dialogue" else None,
    )
    found = {}
    for processes in (1, 2):
        cache = tmp_path / f"cache{processes}"
        options = {"tokenizing_processes": processes, "max_source_tokens": 60, "over_long": "cut"}
        config = DataConfig(train=(path,), format=form, cache_dir=str(cache), **options)
        opened = token_cache.open_shards(config, tokenizers[0], "train", tokenizers[1])
        (folder,) = [entry for entry in cache.iterdir() if entry.is_dir()]
        found[processes] = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert found[1] == found[2] and len(found[1]) > 10
    stream = opened.streams["text" if form == "text" else "target"]
    assert stream.documents == 40 * (1 if form == "text" else 3)


def test_memory_is_bounded_by_tokenising_in_batches(tmp_path):
    tokenizer = CountingTokenizer()
    path = write(tmp_path / "a.txt", "A line of text.\n" * 300_000)
    config = DataConfig(train=(path,), documents="file", cache_dir=str(tmp_path / "cache"))
    opened = token_cache.open_shards(config, tokenizer, "train")
    assert opened.streams["text"].documents == 1
    assert opened.streams["text"].bytes[-1] == sum(tokenizer.calls) == 4_800_000
    assert max(tokenizer.calls) < 2 << 20


PAIRS = "a\tb\naaaa\tbb\naa\tbbbbb\n中中\tb\naa\tbb\n"


def test_over_long_pairs_are_dropped(tmp_path):
    path = write(tmp_path / "a.tsv", PAIRS)
    config = DataConfig(
        train=(path,),
        format="tsv",
        max_source_tokens=3,
        max_target_tokens=4,
        cache_dir=str(tmp_path),
    )
    opened = token_cache.open_shards(config, ByteTokenizer(), "train")
    assert (opened.manifest["dropped"], opened.manifest["cut"]) == (3, 0)
    assert stream_of(opened, "source") == ids(b"aaa") and stream_of(opened, "target") == ids(b"bbb")
    assert (
        opened.streams["source"].offsets.tolist()
        == opened.streams["source"].bytes.tolist()
        == [0, 1, 3]
    )
    assert opened.streams["target"].offsets.tolist() == [0, 1, 3]
    with pytest.raises(
        UserError,
        match=r"a.tsv: all 5 pairs exceed .*source_tokens=3 or .*target_tokens=4: expected",
    ):
        write(tmp_path / "a.tsv", "aaaa\tb\n" * 5)
        token_cache.open_shards(config, ByteTokenizer(), "train")


def test_over_long_pairs_are_cut_and_their_bytes_counted(tmp_path):
    path = write(tmp_path / "a.tsv", PAIRS)
    config = DataConfig(
        train=(path,),
        format="tsv",
        max_source_tokens=3,
        max_target_tokens=4,
        over_long="cut",
        cache_dir=str(tmp_path),
    )
    opened = token_cache.open_shards(config, ByteTokenizer(), "train")
    assert (opened.manifest["dropped"], opened.manifest["cut"]) == (0, 3)
    assert stream_of(opened, "source") == ids(b"a" + b"aaa" + b"aa" + "中".encode() + b"aa")
    assert stream_of(opened, "target") == ids(b"b" + b"bb" + b"bbbb" + b"b" + b"bb")
    assert opened.streams["source"].bytes.tolist() == [0, 1, 4, 6, 9, 11]
    assert opened.streams["target"].bytes.tolist() == [0, 1, 3, 7, 8, 10]


def test_parallel_files_give_the_same_as_tsv(tmp_path):
    write(tmp_path / "a.tsv", "one\tun\ntwo\tdeux\n")
    write(tmp_path / "a.en", "one\ntwo\n")
    write(tmp_path / "a.fr", "un\ndeux\n")
    table = DataConfig(train=(f"{tmp_path}/a.tsv",), format="tsv", cache_dir=str(tmp_path))
    parallel = dataclasses.replace(
        table, train=(f"{tmp_path}/a.en",), train_target=(f"{tmp_path}/a.fr",), format="parallel"
    )
    opened = [
        token_cache.open_shards(config, ByteTokenizer(), "train") for config in (table, parallel)
    ]
    for name in ("source", "target"):
        assert stream_of(opened[0], name) == stream_of(opened[1], name)


def test_progress_of_long_builds(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "a.txt", "one\n")
    config = DataConfig(train=(path,), cache_dir=str(tmp_path))
    monkeypatch.setattr(tokenizing, "_PROGRESS_SECONDS", 0.0)
    token_cache.open_shards(config, ByteTokenizer(), "train")
    assert capsys.readouterr().err.startswith("tokenizing: 0 MB, 0.0 M tokens, 0 s")


def test_a_long_context_loses_its_beginning(tmp_path):
    path = write(tmp_path / "a.tsv", "one\ttwo\n中\tlong reply\n")
    config = DataConfig(
        train=(path,), format="dialogue", max_source_tokens=4, max_target_tokens=4, over_long="cut"
    )
    opened = token_cache.open_shards(
        dataclasses.replace(config, cache_dir=str(tmp_path)), ByteTokenizer(), "train"
    )
    assert stream_of(opened, "source") == ids(b" one" + b" " + "中".encode())
    assert stream_of(opened, "target") == ids(b"two" + b"long")
    assert opened.streams["source"].bytes.tolist() == [0, 4, 8]
    assert opened.manifest["cut"] == 2


def test_each_side_has_its_tokenizer(tmp_path):
    path = write(tmp_path / "a.tsv", "ab\tab\n")
    config = DataConfig(train=(path,), format="tsv", cache_dir=str(tmp_path))
    source = CharacterTokenizer(["b", "a"])
    opened = token_cache.open_shards(config, ByteTokenizer(), "train", source)
    assert stream_of(opened, "source") == [6, 5] and stream_of(opened, "target") == ids(b"ab")
    # Which tokenizer stands on which side is part of the key.
    turned = token_cache.open_shards(config, source, "train", ByteTokenizer())
    assert stream_of(turned, "source") == ids(b"ab") and stream_of(turned, "target") == [6, 5]
    assert stream_of(token_cache.open_shards(config, source, "train"), "source") == [6, 5]
