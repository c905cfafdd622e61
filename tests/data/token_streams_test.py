import os

import numpy as np
import pytest

from tf_textgen.data import token_streams


@pytest.mark.parametrize("vocabulary_size", [256, 1 << 16, (1 << 16) + 1])
@pytest.mark.parametrize("shard_tokens", [1, 4, 100])
def test_what_is_written_is_read(tmp_path, vocabulary_size, shard_tokens):
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, vocabulary_size, size) for size in (3, 0, 9, 4, 1)]
    dtype = token_streams.token_dtype(vocabulary_size)
    writer = token_streams.StreamWriter(str(tmp_path), "text", dtype, shard_tokens)
    writer.append(np.concatenate([documents[0], documents[2][:2]]), [3, 3], [10, 0])  # the third goes on
    writer.append(documents[2][2:], [7], [30])
    writer.append(np.zeros(0, int), [], [])
    writer.append(np.concatenate(documents[3:]), [4, 5], [40, 50])
    counts = writer.finish()
    assert counts == {"tokens": 17, "documents": 5, "bytes": 130, "shard_tokens": shard_tokens}

    whole = np.concatenate(documents)
    stream = token_streams.TokenStream(str(tmp_path), "text", dtype, counts)
    assert stream.offsets.tolist() == [0, 3, 3, 12, 16, 17]
    assert stream.bytes.tolist() == [0, 10, 10, 40, 80, 130]
    assert stream.documents == 5
    for start in range(18):
        for stop in range(start, 18):
            read = stream.read(start, stop)
            assert read.dtype == np.int32
            np.testing.assert_array_equal(read, whole[start:stop])

    sizes = token_streams.file_sizes("text", dtype, counts)
    assert sizes == {name: os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)}
    assert sum(name.endswith(".tokens") for name in sizes) == -(-17 // shard_tokens)


def test_stored_types():
    assert token_streams.token_dtype(1 << 16).str == "<u2"
    assert token_streams.token_dtype((1 << 16) + 1).str == "<i4"


def test_stream_without_tokens(tmp_path):
    dtype = token_streams.token_dtype(10)
    writer = token_streams.StreamWriter(str(tmp_path), "source", dtype, 4)
    writer.append(np.zeros(0, int), [0, 0], [0, 0])
    stream = token_streams.TokenStream(str(tmp_path), "source", dtype, writer.finish())
    assert stream.documents == 2
    assert stream.read(0, 0).shape == (0,)


def test_ragged_places():
    assert token_streams.ragged_places([2, 0, 3]).tolist() == [0, 2, 2, 5]
    assert token_streams.ragged_places([]).tolist() == [0]
