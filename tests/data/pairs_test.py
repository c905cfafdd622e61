import collections
import itertools

import numpy as np
import pytest

from tests.support.data_files import BOS, EOS, PAD, SEP, ids, pairs_split, random_texts
from tf_textgen.data.pairs import DecoderOnlyPairs, EncoderDecoderPairs, assign_buckets


def random_pairs(count, longest=30):
    return list(zip(random_texts(count, longest, 1), random_texts(count, longest, 2), strict=True))


def read_encoder_decoder(batch):
    """The pairs of a batch as ids, after checks of all that holds for any."""
    pairs = []
    features = batch.features
    for source, length, target, labels, counted in zip(
        features["source_tokens"],
        features["source_lengths"],
        features["target_tokens"],
        batch.labels,
        batch.counted,
        strict=True,
    ):
        kept = int(counted.sum())
        assert np.all(counted[:kept]) and not counted[kept:].any()
        assert source[length - 1] == EOS and np.all(source[length:] == PAD)
        assert (
            target[0] == BOS
            and np.all(target[max(kept, 1) :] == PAD)
            and np.all(labels[kept:] == PAD)
        )
        if not kept:
            assert length == 1
            continue
        assert labels[kept - 1] == EOS
        np.testing.assert_array_equal(target[1:kept], labels[: kept - 1])
        pairs.append((tuple(source[: length - 1].tolist()), tuple(labels[: kept - 1].tolist())))
    return pairs


def read_decoder_only(batch):
    pairs = []
    for tokens, labels, counted in zip(
        batch.features["target_tokens"], batch.labels, batch.counted, strict=True
    ):
        assert tokens[0] == BOS
        if not counted.any():
            assert np.all(tokens[1:] == PAD)
            continue
        separator = tokens.tolist().index(SEP)
        end = labels.tolist().index(EOS)
        assert np.flatnonzero(counted).tolist() == list(range(separator, end + 1))
        np.testing.assert_array_equal(tokens[1 : end + 1], labels[:end])
        assert np.all(tokens[end + 1 :] == PAD) and np.all(labels[end + 1 :] == PAD)
        pairs.append((tuple(tokens[1:separator].tolist()), tuple(labels[separator:end].tolist())))
    return pairs


FORMS = [(EncoderDecoderPairs, read_encoder_decoder), (DecoderOnlyPairs, read_decoder_only)]


def padded_tokens(batch):
    return sum(
        batch.features[name].size
        for name in ("source_tokens", "target_tokens")
        if name in batch.features
    )


@pytest.mark.parametrize(("form", "read"), FORMS)
@pytest.mark.parametrize(
    ("count", "budget", "num_buckets"), [(1, 100, 8), (50, 1, 3), (200, 300, 4), (200, 9999, 1)]
)
def test_every_pair_comes_once_an_epoch_and_once_in_an_evaluation(
    tmp_path, form, read, count, budget, num_buckets
):
    pairs = random_pairs(count)
    split, _ = pairs_split(tmp_path, pairs)
    plan = form(split, budget, num_buckets)
    expected = collections.Counter(
        (tuple(ids(source)), tuple(ids(target))) for source, target in pairs
    )

    batches = [plan.evaluation_batch(step) for step in range(plan.evaluation_steps)]
    assert collections.Counter(pair for batch in batches for pair in read(batch)) == expected
    assert (
        sum(batch.counted.sum() for batch in batches)
        == split.num_tokens
        == sum(len(pair[1]) + 1 for pair in pairs)
    )
    shapes = set()
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        batches = [plan.training_batch(step, 4) for step in steps]
        assert collections.Counter(pair for batch in batches for pair in read(batch)) == expected
        shapes |= {tuple(array.shape for array in batch.features.values()) for batch in batches}
        for batch in batches:
            assert padded_tokens(batch) <= budget or len(batch.labels) == 1
    assert len(shapes) <= num_buckets


@pytest.mark.parametrize(("form", "read"), FORMS)
def test_training_is_a_function_of_seed_and_step(tmp_path, form, read):
    split, _ = pairs_split(tmp_path, random_pairs(100))
    one, other = form(split, 200, 4), form(split, 200, 4)
    steps = [one.steps_per_epoch + 3, 1, 0]
    batches = {step: read(one.training_batch(step, 5)) for step in steps}
    for step in sorted(steps):
        assert read(other.training_batch(step, 5)) == batches[step]
    orders = [
        [tuple(read(one.training_batch(e * one.steps_per_epoch + i, 5))) for i in range(5)]
        for e in (0, 1)
    ]
    assert orders[0] != orders[1]
    assert batches[0] != read(one.training_batch(0, 6))


def test_short_pairs_are_not_padded_to_long_ones(tmp_path):
    pairs = [(b"a" * n, b"b" * n) for n in range(1, 101)] * 4
    split, _ = pairs_split(tmp_path, pairs)
    plan = EncoderDecoderPairs(split, 2 * 101 * 4, 10)
    batches = [plan.evaluation_batch(step) for step in range(plan.evaluation_steps)]
    real = sum(len(source) + len(target) + 2 for source, target in pairs)
    assert real / sum(padded_tokens(batch) for batch in batches) > 0.75


def padded_cost(lengths, bucket):
    groups = [[side[bucket == one] for side in lengths] for one in set(bucket.tolist())]
    return sum(len(group[0]) * sum(side.max() for side in group) for group in groups)


@pytest.mark.parametrize("num_buckets", [1, 2, 3, 4])
def test_buckets_of_one_side_cost_least(num_buckets):
    side = np.random.default_rng(num_buckets).geometric(0.15, 60)
    values = sorted(set(side.tolist()))
    ways = itertools.combinations(values[:-1], min(num_buckets, len(values)) - 1)
    best = min(
        padded_cost([side], np.searchsorted(np.array([*way, values[-1]]), side)) for way in ways
    )
    bucket = assign_buckets([side], num_buckets)
    assert bucket.max() < num_buckets
    assert padded_cost([side], bucket) == best


def test_a_pair_goes_where_both_sides_fit():
    source, target = np.array([1, 1, 1, 9, 9]), np.array([1, 1, 1, 9, 1])
    assert assign_buckets([source, target], 2).tolist() == [0, 0, 0, 1, 1]
    assert set(assign_buckets([source, target], 1).tolist()) == {0}
    rng = np.random.default_rng(0)
    lengths = [rng.geometric(0.05, 5000), rng.geometric(0.05, 5000)]
    costs = [padded_cost(lengths, assign_buckets(lengths, count)) for count in (1, 2, 4, 8, 16)]
    assert costs == sorted(costs, reverse=True) and costs[0] > 3 * costs[-1]
