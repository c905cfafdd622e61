import collections

import numpy as np
import pytest

from tests.support.data_files import BOS, EOS, PAD, ids, random_texts, text_split
from tf_textgen.data import packing
from tf_textgen.data.packing import PackedDocuments


def best_fit(lengths, capacity):
    """The rooms left by best fit, longest first, one piece at a time."""
    rooms = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
            rooms.append(min(fitting) - length)
        else:
            rooms.append(capacity - length)
    return sorted(rooms)


@pytest.mark.parametrize("capacity", [1, 5, 16, 100])
@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_pack_is_best_fit(capacity, count):
    lengths = np.random.default_rng(count).integers(1, capacity + 1, count)
    rows = packing.pack(lengths, capacity)
    filled = np.bincount(rows, weights=lengths) if count else np.zeros(0)
    assert sorted((capacity - filled).astype(int).tolist()) == best_fit(lengths.tolist(), capacity)


def test_pack_of_equal_pieces():
    assert packing.pack(np.full(7, 3), 10).tolist() == [0, 0, 0, 1, 1, 1, 2]


def segments_of(batch):
    """The segments of a batch as (inputs, labels) after checks of all that holds for any."""
    found = []
    for tokens, labels, counted, positions, segments in zip(
        batch.features["target_tokens"],
        batch.labels,
        batch.counted,
        batch.features["positions"],
        batch.features["segment_ids"],
        strict=True,
    ):
        used = int((segments > 0).sum())
        assert np.all(segments[:used] > 0) and np.all(np.diff(segments[:used]) >= 0), (
            "no gap between the segments"
        )
        np.testing.assert_array_equal(counted, segments > 0)
        for row in (tokens, labels):
            assert np.all(row[used:] == PAD)
        assert np.all(positions[used:] == 0)
        assert sorted(set(segments[:used].tolist())) == list(range(1, segments.max() + 1))
        for segment in range(1, segments.max() + 1):
            mine = segments == segment
            assert positions[mine].tolist() == list(range(mine.sum()))
            found.append((tuple(tokens[mine].tolist()), tuple(labels[mine].tolist())))
    return found


def pieces_of(documents, context):
    """What the segments must be."""
    pieces = []
    for text in documents:
        whole = [BOS, *ids(text), EOS]
        for start in range(0, len(whole) - 1, context):
            stop = min(start + context, len(whole) - 1)
            pieces.append((tuple(whole[start:stop]), tuple(whole[start + 1 : stop + 1])))
    return collections.Counter(pieces)


@pytest.mark.parametrize(("context", "batch_size"), [(4, 1), (9, 4), (16, 7), (64, 2)])
def test_every_document_comes_once_an_epoch_and_once_in_an_evaluation(
    tmp_path, context, batch_size
):
    documents = random_texts(40, 40, seed=context)
    split, _ = text_split(tmp_path, documents)
    plan = PackedDocuments(split, context, batch_size)
    expected = pieces_of(documents, context)

    found, count = [], 0
    for step in range(plan.evaluation_steps):
        batch = plan.evaluation_batch(step)
        assert batch.labels.shape == (batch_size, context)
        found += segments_of(batch)
        count += int(batch.counted.sum())
    assert collections.Counter(found) == expected
    assert count == split.num_tokens == sum(len(text) + 1 for text in documents)

    rows = len(best_fit([len(piece[0]) for piece in expected.elements()], context))
    assert plan.steps_per_epoch == -(-rows // batch_size)
    found = [
        segments_of(plan.training_batch(step, 3)) for step in range(-(-2 * rows // batch_size))
    ]
    in_two_epochs = collections.Counter(segment for batch in found for segment in batch)
    assert all(in_two_epochs[piece] >= 2 * count for piece, count in expected.items())
    if 2 * rows % batch_size == 0:
        assert in_two_epochs == expected + expected


def test_training_is_a_function_of_seed_and_step(tmp_path):
    split, _ = text_split(tmp_path, random_texts(30, 30))
    one, other = PackedDocuments(split, 16, 4), PackedDocuments(split, 16, 4)
    labels = one.training_batch(9, 5).labels
    np.testing.assert_array_equal(other.training_batch(9, 5).labels, labels)
    assert not np.array_equal(one.training_batch(9, 6).labels, labels)


def test_rows_are_nearly_full(tmp_path):
    split, _ = text_split(tmp_path, random_texts(500, 60))
    plan = PackedDocuments(split, 128, 1)
    assert split.num_tokens / (plan.evaluation_steps * 128) > 0.98
