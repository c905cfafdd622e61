import itertools

import numpy as np
import pytest

from tests.data.windows_test import stream_of
from tests.support.data_files import BOS, PAD, random_texts, text_split
from tf_textgen.data.streams import Streams
from tf_textgen.errors import UserError


def joined(batches):
    """The rows of batches one after another: inputs, labels, counted, resets, each `[B, T *
    steps]`.
    """
    batches = list(batches)
    parts = [
        (b.features["target_tokens"], b.labels, b.counted, b.features["resets"]) for b in batches
    ]
    return [np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)]


@pytest.mark.parametrize(("context", "batch_size"), [(4, 1), (7, 3), (1, 5), (16, 8)])
def test_rows_go_on_over_the_steps_of_an_epoch(tmp_path, context, batch_size):
    documents = random_texts(20, 30, seed=1)
    stream = stream_of(documents)
    split, _ = text_split(tmp_path, documents)
    plan = Streams(split, context, batch_size)
    steps, length = plan.steps_per_epoch, -(-len(stream) // batch_size)
    assert steps == -(-length // context)
    phases = []
    for epoch in range(3):
        rows = joined(plan.training_batch(epoch * steps + step, seed=5) for step in range(steps))
        inputs, labels, counted, resets = (row[:, :length] for row in rows)
        assert not any(part[:, length:].any() for part in rows[2:])
        read = np.concatenate(inputs)[: len(stream)].tolist()
        (phase,) = (i for i in range(len(stream)) if stream[i:] + stream[:i] == read)
        np.testing.assert_array_equal(np.concatenate(labels)[: len(stream)], np.roll(read, -1))
        np.testing.assert_array_equal(counted, (labels != BOS) & (labels != PAD))
        assert counted.sum() == split.num_tokens
        expected = inputs == BOS
        expected[:, 0] = True
        np.testing.assert_array_equal(resets, expected)
        phases.append(phase)
    assert len(set(phases)) > 1, "epochs begin at different places"
    assert not np.array_equal(
        plan.training_batch(0, seed=6).labels, plan.training_batch(0, seed=5).labels
    )


@pytest.mark.parametrize("batch_size", [1, 2, 7, 40])
@pytest.mark.parametrize("documents", [random_texts(6, 12, seed=3), [b"abcdefg"], [b"a"]])
def test_an_evaluation_counts_every_label_once(tmp_path, documents, batch_size):
    stream = stream_of(documents)
    split, _ = text_split(tmp_path, documents)
    plan = Streams(split, 5, batch_size)
    inputs, labels, counted, resets = joined(
        plan.evaluation_batch(step) for step in range(plan.evaluation_steps)
    )
    assert counted.sum() == split.num_tokens
    pairs = [(a, b) for a, b in itertools.pairwise(stream) if b != BOS]
    assert list(zip(inputs[counted], labels[counted], strict=True)) == pairs
    assert resets[:, 0].all() and (resets[:, 1:] == (inputs[:, 1:] == BOS)).all()


def test_too_little_text_for_one_step(tmp_path):
    split, _ = text_split(tmp_path, [b"abcdef"])
    message = (
        r"the train files give 8 tokens, fewer than one step of carried state needs: expected at "
        r"least 9 \(--data.batch_size=3 streams of --data.context=3\); add text or lower one of "
        r"them"
    )
    with pytest.raises(UserError, match=message):
        _ = Streams(split, 3, 3).steps_per_epoch
    assert Streams(split, 4, 2).steps_per_epoch == 1
