import collections

import numpy as np
import pytest

from tests.support.data_files import BOS, EOS, PAD, ids, random_texts, text_split
from tf_textgen.data.windows import Windows
from tf_textgen.errors import UserError


def stream_of(documents):
    return [token for text in documents for token in (BOS, *ids(text), EOS)]


@pytest.mark.parametrize(("context", "batch_size"), [(4, 1), (7, 3), (16, 5), (33, 64)])
def test_an_epoch_is_windows_of_the_ring_without_overlap(tmp_path, context, batch_size):
    rng = np.random.default_rng(0)
    documents = [
        bytes(rng.integers(33, 127, size).astype(np.uint8)) for size in rng.integers(1, 30, 20)
    ]
    stream = stream_of(documents)
    split, _ = text_split(tmp_path, documents)
    plan = Windows(split, context, batch_size)
    rows = len(stream) // context
    assert plan.steps_per_epoch == -(-rows // batch_size)

    ring = stream * 3
    places = {tuple(ring[i : i + context + 1]): i for i in range(len(stream))}
    assert len(places) == len(stream), "the windows of this test's text must differ"
    starts = []
    for step in range(-(-3 * rows // batch_size)):
        batch = plan.training_batch(step, seed=11)
        inputs, labels = batch.features["target_tokens"], batch.labels
        assert inputs.shape == labels.shape == (batch_size, context)
        np.testing.assert_array_equal(batch.counted, labels != BOS)
        starts += [
            places[(*row, label[-1])]
            for row, label in zip(inputs.tolist(), labels.tolist(), strict=True)
        ]
        np.testing.assert_array_equal(inputs[:, 1:], labels[:, :-1])

    phases = set()
    for epoch in range(3):
        of_epoch = starts[epoch * rows : (epoch + 1) * rows]
        covered = collections.Counter(
            (start + i) % len(stream) for start in of_epoch for i in range(context)
        )
        assert set(covered.values()) == {1} and len(covered) == rows * context
        phases.add(min(of_epoch))
    assert len(phases) > 1, "epochs begin at different places"


def test_training_is_a_function_of_seed_and_step(tmp_path):
    split, _ = text_split(tmp_path, random_texts(30, 30))
    one, other = Windows(split, 8, 4), Windows(split, 8, 4)
    order = [7, 0, 100, 3]
    batches = {step: one.training_batch(step, 5) for step in order}
    for step in sorted(order):
        np.testing.assert_array_equal(other.training_batch(step, 5).labels, batches[step].labels)
    assert not np.array_equal(one.training_batch(0, 6).labels, batches[0].labels)


@pytest.mark.parametrize(
    ("context", "stride"), [(5, None), (5, 5), (5, 2), (5, 1), (8, 3), (1000, None), (1000, 7)]
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_evaluation_counts_every_label_once_with_enough_before_it(
    tmp_path, context, stride, batch_size
):
    documents = random_texts(6, 12, seed=3)
    stream = stream_of(documents)
    split, _ = text_split(tmp_path, documents)
    plan = Windows(split, context, batch_size, stride)

    counted, row = collections.Counter(), 0
    for step in range(plan.evaluation_steps):
        batch = plan.evaluation_batch(step)
        assert batch.labels.shape == (batch_size, context)
        inputs = batch.features["target_tokens"]
        for i in range(batch_size):
            start = row * (stride or context)
            for j in np.flatnonzero(batch.counted[i]):
                place = start + j + 1
                assert batch.labels[i, j] == stream[place]
                assert inputs[i, : j + 1].tolist() == stream[start : start + j + 1]
                assert j + 1 >= min(place, context - (stride or context) + 1)
                counted[place] += 1
            row += 1
    expected = {place for place in range(1, len(stream)) if stream[place] != BOS}
    assert set(counted) == expected and set(counted.values()) == {1}
    assert len(expected) == split.num_tokens
    assert (row - batch_size) * (stride or context) < len(stream), "no batch is empty"


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_evaluation_at_the_edge_of_a_window(tmp_path, extra):
    split, _ = text_split(tmp_path, [b"a" * (8 - 2 + 1 + extra)])  # 8 labels, give or take one
    plan = Windows(split, 8, 2)
    assert plan.evaluation_rows == (2 if extra == 1 else 1)
    assert (
        sum(plan.evaluation_batch(step).counted.sum() for step in range(plan.evaluation_steps))
        == 8 + extra
    )


def test_rows_that_fill_a_batch_have_no_weight(tmp_path):
    split, _ = text_split(tmp_path, [b"abc"])
    batch = Windows(split, 4, 3).evaluation_batch(0)
    assert batch.features["target_tokens"][1:].tolist() == [[BOS, PAD, PAD, PAD]] * 2
    assert batch.counted.sum() == 4


def test_too_little_text_to_train_on(tmp_path):
    split, _ = text_split(tmp_path, [b"abcdef"])
    message = r"the train files give 8 tokens, .*expected at least 9 \(--data.context=8\); add text or shorten"
    with pytest.raises(UserError, match=message):
        _ = Windows(split, 8, 1).steps_per_epoch
    plan = Windows(split, 7, 2)
    assert plan.steps_per_epoch == 1
    assert plan.training_batch(3, seed=1).labels.shape == (2, 7)


@pytest.mark.parametrize("stride", [0, -1, 9])
def test_stride_is_checked(tmp_path, stride):
    split, _ = text_split(tmp_path, [b"abc"])
    with pytest.raises(UserError, match=rf"stride {stride}: expected 1 to 8 \(--data.context\)"):
        Windows(split, 8, 1, stride)
