import dataclasses
import itertools
import os
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from tests.support.data_files import BOS, EOS, ids, pairs_split, random_texts, text_split, write
from tf_textgen.data import dataset, token_cache
from tf_textgen.data.batches import ONE_PROCESS, Share
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.errors import UserError
from tf_textgen.text.bytes import ByteTokenizer

TEXT = {"context": 8, "batch_size": 3}
PAIRS = {"batch_tokens": 120, "num_buckets": 3}
CASES = {
    "windows": (TEXT, "language_model"),
    "streams": ({**TEXT, "carry_state": True}, "language_model"),
    "packed": ({**TEXT, "batching": "packed"}, "language_model"),
    "decoder only": (PAIRS, "language_model"),
    "encoder decoder": (PAIRS, "encoder_decoder"),
}


def open_case(case, folder):
    options, kind = CASES[case]
    if options is PAIRS:
        texts = random_texts(60, 20)
        return *pairs_split(folder, list(zip(texts[:30], texts[30:], strict=True)), **options), kind
    return *text_split(folder, random_texts(30, 20), **options), kind


def arrays(element):
    return [tensor.numpy() for tensor in tf.nest.flatten(element)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_any_step_can_be_taken_up(case, tmp_path):
    split, config, kind = open_case(case, tmp_path)
    steps = dataset.steps_per_epoch(split, config, model_kind=kind)
    whole = dataset.training_batches(split, config, seed=3, model_kind=kind)
    assert int(whole.cardinality()) == tf.data.INFINITE_CARDINALITY
    elements = list(whole.take(2 * steps + 3))
    for start in (1, steps - 1, steps, 2 * steps + 1):
        resumed = dataset.training_batches(split, config, seed=3, start_step=start, model_kind=kind)
        assert resumed.element_spec == whole.element_spec
        for element, expected in zip(resumed, elements[start : start + 2], strict=False):
            assert same(element, expected)
    other = dataset.training_batches(split, config, seed=4, model_kind=kind)
    assert not all(same(a, b) for a, b in zip(other.take(3), elements, strict=False))


def test_a_split_of_terabytes_opens_and_begins_at_any_step(tmp_path):
    tokens = 1 << 39
    for name in ("offsets", "bytes", "unknown"):
        (tmp_path / f"text.{name}").write_bytes(np.array([0, tokens], "<i8").tobytes())
    shard = tmp_path / "text-00000.tokens"
    shard.touch()
    os.truncate(
        shard, 2 * tokens
    )  # a file of a terabyte with nothing in it: one pass would never end
    stream = {"tokens": tokens, "documents": 1, "bytes": tokens, "shard_tokens": tokens}
    counts = dict.fromkeys(("dropped", "cut", "replaced", "empty", "no_reply", "marks"), 0)
    manifest = {"dtype": "<u2", "streams": {"text": stream}, "files": [[], []], **counts}
    opened = token_cache.Shards(str(tmp_path), manifest)
    split, config = TokenizedSplit("train", opened, ByteTokenizer()), DataConfig(batching="windows")
    assert split.num_tokens == tokens - 1
    assert dataset.steps_per_epoch(split, config) == tokens // (256 * 32)
    tracemalloc.start()
    for step in (0, 10_000_000, 10_000_000_000):
        (batch,) = dataset.training_batches(split, config, seed=1, start_step=step).take(1)
        assert [array.shape for array in arrays(batch)] == [(32, 256)] * 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("case", CASES)
def test_evaluation_is_one_finite_pass_over_every_token(case, tmp_path):
    split, config, kind = open_case(case, tmp_path)
    evaluation = dataset.evaluation_batches(split, config, model_kind=kind)
    elements = list(evaluation)
    assert len(elements) == int(evaluation.cardinality()) > 1
    assert sum(float(tf.reduce_sum(weights)) for _, _, weights in elements) == split.num_tokens
    assert all(same(a, b) for a, b in zip(evaluation, elements, strict=True))


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_the_parts_of_the_replicas_are_the_batch(case, replicas, tmp_path):
    split, config, kind = open_case(case, tmp_path)

    def made(share):
        shared = {"model_kind": kind, "share": share}
        training = dataset.training_batches(split, config, seed=3, start_step=2, **shared)
        return [
            *training.take(3 * share.local),
            *dataset.evaluation_batches(split, config, **shared),
        ]

    whole = made(ONE_PROCESS)
    workers = [made(Share(first, 2, replicas, multiple=2)) for first in range(0, replicas, 2)]
    for step, batch in enumerate(whole):
        parts = [part for worker in workers for part in worker[2 * step : 2 * step + 2]]
        (rows,) = {len(part[1]) for part in parts}
        assert rows % 2 == 0
        joined = [np.concatenate(tensors) for tensors in zip(*map(arrays, parts), strict=True)]
        for tensor, expected in zip(joined, arrays(batch), strict=True):
            np.testing.assert_array_equal(tensor[: len(expected)], expected)
        assert not joined[-1][len(batch[1]) :].any(), "rows that fill the parts have no weight"
    assert all(len(worker) == 2 * len(whole) for worker in workers)


@pytest.mark.parametrize(
    ("case", "names", "shape"),
    [
        ("windows", {"target_tokens"}, (3, 8)),
        ("streams", {"target_tokens", "resets"}, (3, 8)),
        ("packed", {"target_tokens", "positions", "segment_ids"}, (3, 8)),
        ("decoder only", {"target_tokens"}, (None, None)),
        ("encoder decoder", {"source_tokens", "source_lengths", "target_tokens"}, (None, None)),
    ],
)
def test_element_spec(case, names, shape, tmp_path):
    split, config, kind = open_case(case, tmp_path)
    for made in (
        dataset.training_batches(split, config, seed=1, model_kind=kind),
        dataset.evaluation_batches(split, config, model_kind=kind),
    ):
        features, labels, weights = made.element_spec
        assert set(features) == names and all(spec.dtype == tf.int32 for spec in features.values())
        assert (
            tuple(features["target_tokens"].shape)
            == tuple(labels.shape)
            == tuple(weights.shape)
            == shape
        )
        assert (labels.dtype, weights.dtype) == (tf.int32, tf.float32)


def test_evaluation_with_a_stride(tmp_path):
    split, config, _ = open_case("windows", tmp_path)
    plain, overlapping = (
        dataset.evaluation_batches(split, config, stride=stride) for stride in (None, 3)
    )
    assert int(overlapping.cardinality()) > 2 * int(plain.cardinality())
    assert sum(float(tf.reduce_sum(weights)) for _, _, weights in overlapping) == split.num_tokens


@pytest.mark.parametrize("case", ["streams", "packed", "decoder only", "encoder decoder"])
def test_stride_is_for_windows(case, tmp_path):
    split, config, kind = open_case(case, tmp_path)
    with pytest.raises(
        UserError, match=r"stride 3 with --data\.\w+(=\w+)?: expected --data.batching=windows"
    ):
        dataset.evaluation_batches(split, config, model_kind=kind, stride=3)


def test_mismatches_are_errors(tmp_path):
    split, config, _ = open_case("windows", tmp_path)
    with pytest.raises(
        UserError, match=r"encoder-decoder model on --data.format=text: expected pairs"
    ):
        dataset.training_batches(split, config, seed=1, model_kind="encoder_decoder")
    with pytest.raises(
        UserError, match=r"model kind 'gpt': expected language_model or encoder_decoder"
    ):
        dataset.steps_per_epoch(split, config, model_kind="gpt")
    long = dataclasses.replace(config, context=10_000)
    with pytest.raises(
        UserError, match=r"files give \d+ tokens, .* at least 10001 \(--data.context=10000\)"
    ):
        dataset.training_batches(split, long, seed=1)
    (element,) = dataset.evaluation_batches(split, long)
    assert float(tf.reduce_sum(element[2])) == split.num_tokens


def test_open_corpus_reads_the_files_of_each_split(tmp_path):
    files = {name: write(tmp_path / name, f"{name}\n") for name in ("train", "valid", "test")}
    config = DataConfig(
        **{name: (path,) for name, path in files.items()}, cache_dir=str(tmp_path / "cache")
    )
    splits = dataset.open_corpus(config, ByteTokenizer())
    assert list(splits) == ["train", "valid"]
    splits = dataset.open_corpus(config, ByteTokenizer(), splits=("test", "valid"))
    for name, split in splits.items():
        assert split.name == name
        assert split.read(0, 9).tolist()[: split.stream_tokens] == [BOS, *ids(name.encode()), EOS]


@pytest.mark.parametrize(
    ("fraction", "count", "held_out"),
    [(0.05, 100, 5), (0.001, 10, 1), (0.99, 10, 9), (0.5, 2, 1), (0.25, 10, 2)],
)
def test_the_last_documents_validate_where_no_file_does(tmp_path, fraction, count, held_out):
    path = write(tmp_path / "a.txt", "".join(f"{i:03d}\n" for i in range(count)))
    config = DataConfig(
        train=(path,), documents="line", validation_fraction=fraction, cache_dir=str(tmp_path)
    )
    splits = dataset.open_corpus(config, ByteTokenizer())
    texts = [
        [
            bytes(np.array(split.document("text", i)[1:-1] - 5, np.uint8))
            for i in range(split.num_documents)
        ]
        for split in splits.values()
    ]
    assert [len(part) for part in texts] == [count - held_out, held_out]
    assert list(itertools.chain(*texts)) == [b"%03d" % i for i in range(count)]


def test_without_validation(tmp_path):
    path = write(tmp_path / "a.txt", "one two\n")
    config = DataConfig(train=(path,), documents="file", cache_dir=str(tmp_path))
    with pytest.raises(
        UserError, match=r"--data.validation_fraction=0.05: the training files are one line"
    ):
        dataset.open_corpus(config, ByteTokenizer())
    assert list(
        dataset.open_corpus(dataclasses.replace(config, validation_fraction=0.0), ByteTokenizer())
    ) == ["train"]
    with pytest.raises(UserError, match=r"no data for the split 'test'.* --data.test"):
        dataset.open_corpus(config, ByteTokenizer(), splits=("test",))
    with pytest.raises(UserError, match=r"split 'dev': expected one of train, valid, test"):
        dataset.open_corpus(config, ByteTokenizer(), splits=("dev",))


def test_bad_input_is_found_before_training(tmp_path):
    path = write(tmp_path / "a.txt", b"good\nb\xffd\n")
    config = DataConfig(train=(path,), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"a.txt:2: invalid UTF-8 at byte offset 6"):
        dataset.open_corpus(config, ByteTokenizer())
