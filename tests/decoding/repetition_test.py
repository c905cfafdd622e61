import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.decoding import repetition, state

INF = float("inf")
rng = np.random.default_rng(0)


def history(prompts, continuations, pad=0):
    """Rows of any lengths as the loop holds them; continuations are equally long, with room behind
    them.
    """
    width = max([1, *map(len, prompts)])
    left = np.array([[pad] * (width - len(p)) + list(p) for p in prompts], np.int32).reshape(
        len(prompts), width
    )
    step = len(continuations[0]) if continuations else 0
    tokens = np.array([[*c, 7, 7] for c in continuations], np.int32).reshape(len(prompts), step + 2)
    lengths = np.array([len(p) for p in prompts], np.int32)
    return state.History(*map(tf.constant, (left, lengths, tokens, step)), None)


def test_repetition_penalty():
    logits = tf.constant([[2.0, -2.0, -INF, 2.0, 2.0]] * 3)
    past = history([[1, 2], [2], [1, 0, 2]], [[0], [1], [1]])
    weakened = repetition.penalize_repetition(logits, tf.constant([1.0, 2.0, 0.5]), past).numpy()
    assert weakened.tolist() == [[2, -2, -INF, 2, 2], [2, -4, -INF, 2, 2], [4, -1, -INF, 2, 2]]


def test_repetition_penalty_does_not_overflow():
    past, penalty = history([[0, 1]] * 2, [[]] * 2), tf.constant([1e-37, 3e38])
    weakened = repetition.penalize_repetition(tf.constant([[2.0, -2.0]] * 2), penalty, past)
    assert np.isfinite(repetition.penalize_repetition(weakened, penalty, past)).all()


def test_count_penalties_count_the_continuation_alone():
    past = history([[1, 2, 3]] * 3, [[0, 1, 1, 1], [0, 1, 1, 1], [2, 2, 0, 2]])
    logits = tf.constant([[4.0, 4.0, 4.0, -INF]] * 3)
    frequency, presence = tf.constant([0.5, 0.0, -1.0]), tf.constant([0.25, 2.0, 0.0])
    weakened = repetition.penalize_counts(logits, frequency, presence, past).numpy()
    assert weakened.tolist() == [[3.25, 2.25, 4, -INF], [2, 2, 4, -INF], [5, 4, 7, -INF]]


def expected_forbidden(sequence, size):
    """Every token that would end an n-gram which stands in the sequence already."""
    begun = tuple(sequence[len(sequence) - size + 1 :])
    grams = [tuple(sequence[i : i + size]) for i in range(len(sequence) - size + 1)]
    return {gram[-1] for gram in grams if size > 0 and gram[:-1] == begun}


@pytest.mark.parametrize("step", [0, 1, 9])
def test_no_ngram_comes_twice(step):
    prompts = [list(rng.integers(0, 3, rng.integers(1, 9))) for _ in range(60)]
    continuations = [list(rng.integers(0, 3, step)) for _ in prompts]
    sizes = rng.integers(0, 6, 60).astype(np.int32)
    sizes[:2] = 1000, 2**31 - 1
    past = history(prompts, continuations)
    left = repetition.forbid_ngrams(tf.zeros([60, 4]), tf.constant(sizes), past).numpy()
    for row, prompt, continuation, size in zip(left, prompts, continuations, sizes, strict=True):
        assert {*np.flatnonzero(row == -INF)} == expected_forbidden(
            [*prompt, *continuation], int(size)
        )
    alone = [
        repetition.forbid_ngrams(tf.zeros([1, 4]), sizes[i : i + 1], history([p], [c])).numpy()[0]
        for i, (p, c) in enumerate(zip(prompts[:9], continuations, strict=False))
    ]
    np.testing.assert_array_equal(left[:9], alone)


def test_a_wish_that_nothing_can_match_costs_its_neighbours_nothing(monkeypatch):
    """Nor does a neighbour's match, once found, keep the search going."""
    compared, roll = [], tf.roll
    monkeypatch.setattr(
        repetition.tf, "roll", lambda *given, **named: compared.append(1) or roll(*given, **named)
    )
    sequence = [*range(500), 0]
    past = history([sequence] * 2, [[]] * 2)
    left = repetition.forbid_ngrams(tf.zeros([2, 501]), tf.constant([10**6, 2]), past).numpy()
    assert [np.flatnonzero(row == -INF).tolist() for row in left] == [[], [1]]
    assert len(compared) == 1


def test_counts_ignore_foreign_ids():
    tokens = tf.constant([[1, 2, 3], [3, 3, 0], [7, -1, 2]])
    where = tf.constant([[False, True, True], [True, True, True], [True, True, True]])
    assert repetition.token_counts(tokens, where, 4).numpy().tolist() == [
        [0, 0, 1, 1],
        [1, 0, 0, 2],
        [0, 0, 1, 0],
    ]


def test_no_rows():
    past, none = history([], []), tf.zeros([0])
    for logits in (
        repetition.penalize_repetition(tf.zeros([0, 9]), none, past),
        repetition.penalize_counts(tf.zeros([0, 9]), none, none, past),
        repetition.forbid_ngrams(tf.zeros([0, 9]), tf.zeros([0], tf.int32), past),
    ):
        assert logits.shape == (0, 9)
