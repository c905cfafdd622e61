import dataclasses

from tests.support.data_files import BOS, EOS, ids, pairs_split, text_split, write
from tf_textgen.data import dataset
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.text.bytes import ByteTokenizer

DOCUMENTS = [b"one", b"two", "三".encode(), b"four"]


def test_counts_of_text(tmp_path):
    split, _ = text_split(tmp_path, DOCUMENTS)
    assert (split.name, split.is_pairs, split.num_documents) == ("train", False, 4)
    assert split.num_bytes == 3 + 3 + 3 + 4
    assert split.num_tokens == split.num_bytes + 4
    assert split.stream_tokens == split.num_tokens + 4
    assert split.document_places().tolist() == [0, 5, 10, 15, 21]
    assert (
        split.document("text", 1).tolist() == split.read(5, 10).tolist() == [BOS, *ids(b"two"), EOS]
    )
    assert split.summary() == "train: 4 documents, 17 tokens, 13 bytes"
    assert (split.pad_id, split.bos_id, split.eos_id, split.sep_id, split.vocabulary_size) == (
        0,
        2,
        3,
        4,
        261,
    )


def test_range_of_documents(tmp_path):
    whole, _ = text_split(tmp_path, DOCUMENTS)
    part = TokenizedSplit("valid", whole.shards, ByteTokenizer(), 1, 3)
    assert (part.num_documents, part.num_bytes, part.num_tokens, part.stream_tokens) == (
        2,
        6,
        8,
        10,
    )
    assert part.document_places().tolist() == [0, 5, 10]
    assert part.read(0, 10).tolist() == [BOS, *ids(b"two"), EOS, BOS, *ids("三".encode()), EOS]
    assert part.document("text", 0).tolist() == [BOS, *ids(b"two"), EOS]
    assert part.lengths("text").tolist() == [5, 5]


def test_counts_of_pairs_are_those_of_the_target(tmp_path):
    split, _ = pairs_split(
        tmp_path, [(b"a", b"bcd"), (b"efghi", b"j"), (b"long" * 9, b"x")], max_source_tokens=20
    )
    assert (split.is_pairs, split.num_documents, split.num_tokens, split.num_bytes) == (
        True,
        2,
        3 + 1 + 1 + 1,
        4,
    )
    assert split.lengths("source").tolist() == [1, 5]
    assert split.document("target", 0).tolist() == ids(b"bcd")
    assert (
        split.summary()
        == "train: 2 pairs, 6 tokens, 4 bytes, 1 over-long pairs of the files dropped"
    )


def test_summary_names_what_was_changed(tmp_path):
    path = write(tmp_path / "a.tsv", b"aaaa\tb\n\xff\tb\n")
    config = DataConfig(
        train=(path,), format="tsv", invalid_utf8="replace", max_source_tokens=3, over_long="cut"
    )
    config = dataclasses.replace(config, validation_fraction=0.0, cache_dir=str(tmp_path))
    split = dataset.open_corpus(config, ByteTokenizer())["train"]
    assert split.summary().endswith(
        "4 tokens, 2 bytes, 1 over-long pairs of the files cut, 1 lines not UTF-8 repaired"
    )


def test_summary_names_what_was_left_out(tmp_path):
    split, _ = pairs_split(tmp_path, [(b"a", b"b"), (b"c", b" "), (b"", b"d")])
    assert (
        split.summary()
        == "train: 1 pairs, 2 tokens, 1 bytes, 2 pairs of the files with an empty side dropped"
    )
    path = write(tmp_path / "dialogues.tsv", "a\tb\n" * 3 + "alone\n")
    config = DataConfig(
        train=(path,), format="dialogue", validation_fraction=0.0, cache_dir=str(tmp_path)
    )
    split = dataset.open_corpus(config, ByteTokenizer())["train"]
    assert (
        split.summary()
        == "train: 3 pairs, 6 tokens, 3 bytes, 1 dialogues of the files without a reply dropped"
    )
