import dataclasses
import json
import os
import threading

import pytest

from tests.support.data_files import BOS, EOS, CountingTokenizer, ids, stream_of, write
from tf_textgen.data import token_cache
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.text.bytes import ByteTokenizer


@pytest.fixture
def config(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo\n\nthree\n")
    return DataConfig(train=(path,), cache_dir=str(tmp_path / "cache"))


def test_documents_with_their_special_tokens(config):
    opened = token_cache.open_shards(config, ByteTokenizer(), "train")
    assert stream_of(opened, "text") == [BOS, *ids(b"one\ntwo"), EOS, BOS, *ids(b"three"), EOS]
    assert opened.streams["text"].offsets.tolist() == [0, 9, 16]
    assert opened.streams["text"].bytes.tolist() == [0, 7, 12]
    (file,) = opened.manifest["files"][0]
    assert (file["name"], file["size"]) == ("a.txt", 15)


def test_second_opening_reads_the_cache(config):
    tokenizer = CountingTokenizer()
    first = stream_of(token_cache.open_shards(config, tokenizer, "train"), "text")
    calls = len(tokenizer.calls)
    assert calls > 0
    assert stream_of(token_cache.open_shards(config, tokenizer, "train"), "text") == first
    others = {
        "context": 3,
        "batch_size": 1,
        "validation_fraction": 0.5,
        "over_long": "cut",
        "tokenizing_processes": 2,
    }
    token_cache.open_shards(dataclasses.replace(config, **others), tokenizer, "train")
    assert len(tokenizer.calls) == calls


def test_what_changes_the_tokens_changes_the_key(config, tmp_path):
    def calls(config, tokenizer):
        token_cache.open_shards(config, tokenizer, "train")
        return len(tokenizer.calls)

    assert calls(config, CountingTokenizer()) == 1
    assert calls(config, CountingTokenizer()) == 0
    assert calls(config, CountingTokenizer(fingerprint="other")) == 1
    assert calls(dataclasses.replace(config, documents="line"), CountingTokenizer()) == 1
    assert calls(dataclasses.replace(config, train=config.train * 1), CountingTokenizer()) == 0
    dialogue = dataclasses.replace(
        config, train=(write(tmp_path / "d.tsv", "a\tb\tc\n"),), format="dialogue"
    )
    assert calls(dialogue, CountingTokenizer()) == 2  # both sides
    for option in ({"context_turns": 1}, {"reply_of": "second"}):
        assert calls(dataclasses.replace(dialogue, **option), CountingTokenizer()) == 2
    assert calls(dialogue, CountingTokenizer()) == 0
    write(tmp_path / "a.txt", "one\ntwo\n\nthreE\n")  # same name and size
    assert calls(config, CountingTokenizer()) == 1
    write(tmp_path / "b.txt", "more\n")
    assert (
        calls(dataclasses.replace(config, train=(f"{tmp_path}/?.txt",)), CountingTokenizer()) == 1
    )


@pytest.mark.parametrize(
    "damage", ["truncated", "missing", "no manifest", "bad manifest", "killed builder"]
)
def test_damaged_cache_is_made_anew(config, damage):
    first = stream_of(token_cache.open_shards(config, ByteTokenizer(), "train"), "text")
    (folder,) = [entry.path for entry in os.scandir(config.cache_dir) if entry.is_dir()]
    tokens, manifest = (
        os.path.join(folder, "text-00000.tokens"),
        os.path.join(folder, "manifest.json"),
    )
    if damage == "truncated":
        os.truncate(tokens, 4)
    elif damage == "missing":
        os.remove(tokens)
    elif damage == "no manifest":
        os.remove(manifest)
    elif damage == "bad manifest":
        write_text = json.dumps({"dtype": "<u2"})
        with open(manifest, "w") as stream:
            stream.write(write_text)
    else:
        os.rename(folder, f"{folder}.building")
    tokenizer = CountingTokenizer()
    assert stream_of(token_cache.open_shards(config, tokenizer, "train"), "text") == first
    assert tokenizer.calls
    assert [entry.path for entry in os.scandir(config.cache_dir) if entry.is_dir()] == [folder]


def test_nothing_is_left_of_a_build_that_failed(config):
    with pytest.raises(KeyboardInterrupt):
        token_cache.open_shards(config, CountingTokenizer(fail=True), "train")
    assert all(name.endswith(".lock") for name in os.listdir(config.cache_dir))


def test_concurrent_builders_build_once(config, capsys):
    entered, others = threading.Event(), []

    class SlowTokenizer(CountingTokenizer):
        def tokenize(self, texts):
            entered.set()
            others[0].join(0.5)  # the other one cannot end while this one holds the lock
            assert others[0].is_alive()
            return super().tokenize(texts)

    slow, other = SlowTokenizer(), CountingTokenizer()
    results = []

    def wait_and_open():
        entered.wait(10)
        results.append(stream_of(token_cache.open_shards(config, other, "train"), "text"))

    others.append(threading.Thread(target=wait_and_open))
    others[0].start()
    first = stream_of(token_cache.open_shards(config, slow, "train"), "text")
    others[0].join(10)
    assert results == [first]
    assert len(slow.calls) == 1 and not other.calls
    assert "waiting for another process" in capsys.readouterr().err


def test_cache_that_cannot_be_written(config, tmp_path):
    file = write(tmp_path / "file", "x")
    with pytest.raises(
        UserError, match=r"--data.cache_dir=.*file/x: cannot be written \(Not a directory\)"
    ):
        token_cache.open_shards(
            dataclasses.replace(config, cache_dir=f"{file}/x"), ByteTokenizer(), "train"
        )
    with pytest.raises(
        UserError, match=r"--data.cache_dir=gs://bucket/x: expected a folder on a local disk"
    ):
        token_cache.open_shards(
            dataclasses.replace(config, cache_dir="gs://bucket/x"), ByteTokenizer(), "train"
        )


def test_large_vocabularies_are_stored_in_32_bits(config):
    tokenizer = CountingTokenizer()
    tokenizer.vocabulary_size = 70_000
    opened = token_cache.open_shards(config, tokenizer, "train")
    assert opened.manifest["dtype"] == "<i4"
    assert stream_of(opened, "text")[:4] == [BOS, *ids(b"one")]
