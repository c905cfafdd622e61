import os

import numpy as np
import pytest

from tf_textgen.data import token_streams
from tf_textgen.errors import UserError


@pytest.mark.parametrize("vocabulary_size", [256, 1 << 16, (1 << 16) + 1])
@pytest.mark.parametrize("shard_tokens", [1, 4, 100])
def test_what_is_written_is_read(tmp_path, vocabulary_size, shard_tokens):
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, vocabulary_size, size) for size in (3, 0, 9, 4, 1)]
    dtype = token_streams.token_dtype(vocabulary_size)
    writer = token_streams.StreamWriter(str(tmp_path), "text", dtype, shard_tokens)
    writer.append(
        np.concatenate([documents[0], documents[2][:2]]), [3, 3], [10, 0], [1, 0]
    )  # the third continues
    writer.append(documents[2][2:], [7], [30], [5])
    writer.append(np.zeros(0, int), [], [], [])
    writer.append(np.concatenate(documents[3:]), [4, 5], [40, 50], [0, 2])
    counts = writer.finish()
    assert counts == {"tokens": 17, "documents": 5, "bytes": 130, "shard_tokens": shard_tokens}

    whole = np.concatenate(documents)
    stream = token_streams.TokenStream(str(tmp_path), "text", dtype, counts)
    assert stream.offsets.tolist() == [0, 3, 3, 12, 16, 17]
    assert stream.bytes.tolist() == [0, 10, 10, 40, 80, 130]
    assert stream.unknown_bytes.tolist() == [0, 1, 1, 6, 6, 8]
    assert stream.documents == 5
    for start in range(18):
        for stop in range(start, 20):
            read = stream.read(start, stop)
            assert read.dtype == np.int32
            np.testing.assert_array_equal(read, whole[start:stop])

    sizes = token_streams.file_sizes("text", dtype, counts)
    assert sizes == {name: os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)}
    assert sum(name.endswith(".tokens") for name in sizes) == -(-17 // shard_tokens)


def test_shard_cut_after_it_was_opened(tmp_path):
    dtype = token_streams.token_dtype(10)
    with token_streams.StreamWriter(str(tmp_path), "text", dtype, 4) as writer:
        writer.append(np.arange(10), [10], [10], [0])
        stream = token_streams.TokenStream(str(tmp_path), "text", dtype, writer.finish())
    os.truncate(tmp_path / "text-00001.tokens", 4)
    assert stream.read(0, 6).tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(
        UserError,
        match=r"text-00001.tokens was truncated while it was in use; delete its folder",
    ):
        stream.read(5, 9)


def test_files_are_closed_with_the_stream(tmp_path, monkeypatch):
    opened, open_file = [], os.open
    dtype = token_streams.token_dtype(10)
    with token_streams.StreamWriter(str(tmp_path), "text", dtype, 4) as writer:
        writer.append(np.arange(10), [10], [10], [0])
        counts = writer.finish()
    monkeypatch.setattr(
        os, "open", lambda *arguments: opened.append(open_file(*arguments)) or opened[-1]
    )
    stream = token_streams.TokenStream(str(tmp_path), "text", dtype, counts)
    assert len(opened) == 3 and all(os.fstat(descriptor) for descriptor in opened)
    del stream
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_stored_types():
    assert token_streams.token_dtype(1 << 16).str == "<u2"
    assert token_streams.token_dtype((1 << 16) + 1).str == "<i4"


def test_stream_without_tokens(tmp_path):
    dtype = token_streams.token_dtype(10)
    writer = token_streams.StreamWriter(str(tmp_path), "source", dtype, 4)
    writer.append(np.zeros(0, int), [0, 0], [0, 0], [0, 0])
    stream = token_streams.TokenStream(str(tmp_path), "source", dtype, writer.finish())
    assert stream.documents == 2
    assert stream.read(0, 0).shape == (0,)


def test_ragged_places():
    assert token_streams.ragged_places([2, 0, 3]).tolist() == [0, 2, 2, 5]
    assert token_streams.ragged_places([]).tolist() == [0]


def hashes_of(folder, parts):
    """The hashes of the documents that are written in these parts: tokens and ends of documents."""
    folder.mkdir()
    dtype = token_streams.token_dtype(100)
    with token_streams.StreamWriter(str(folder), "text", dtype, 8) as writer:
        for tokens, ends in parts:
            zeros = [0] * len(ends)
            writer.append(np.array(tokens, int), ends, zeros, zeros)
        counts = writer.finish()
    return token_streams.TokenStream(str(folder), "text", dtype, counts).hashes.tolist()


def test_hashes_are_equal_for_equal_documents(tmp_path):
    # The documents are [1, 2, 3], [3, 2, 1], [1, 2, 3], [] and [1, 2].
    tokens = [1, 2, 3, 3, 2, 1, 1, 2, 3, 1, 2]
    whole = hashes_of(tmp_path / "whole", [(tokens, [3, 6, 9, 9, 11])])
    first, other, again, empty, shorter = whole
    assert first == again
    assert len({first, other, empty, shorter}) == 4
    parts = [(tokens[:1], []), (tokens[1:5], [2]), (tokens[5:5], []), (tokens[5:], [1, 4, 4, 6])]
    assert hashes_of(tmp_path / "parts", parts) == whole
