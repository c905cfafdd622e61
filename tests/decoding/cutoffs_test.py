import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import expected_nucleus
from tf_textgen.decoding import cutoffs

INF = float("inf")
rng = np.random.default_rng(0)


def tied(rows, size, spread=3.0):
    """Logits on a coarse grid: hundreds of equals."""
    return (np.round(rng.normal(size=(rows, size)) * spread) / 2).astype("float32")


@pytest.mark.parametrize("size", [5, 255, 256, 257, 1024, 1025, 3000])
def test_top_p_equals_a_full_sort_with_ties(size):
    logits = tied(12, size)
    logits[:4] = rng.normal(size=(4, size))
    p = np.concatenate([rng.uniform(0.01, 1, 10), [1e-9, 0.999999]]).astype("float32")
    kept = cutoffs.keep_top_p(tf.constant(logits), tf.constant(p)).numpy()
    for i in range(12):
        nucleus = expected_nucleus(logits[i], p[i])
        np.testing.assert_array_equal(kept[i], np.where(nucleus, logits[i], -INF))


def test_top_p_at_the_exact_border_keeps_the_lower_ids():
    kept = cutoffs.keep_top_p(
        tf.zeros([5, 2048]), tf.constant([0.5, 0.25, 1.0, 1e-9, 0.5 + 2**-12])
    ).numpy()
    counts = np.isfinite(kept).sum(-1)
    assert counts.tolist() == [1024, 512, 2048, 1, 1025]
    for row, count in zip(kept, counts, strict=True):
        assert np.isfinite(row[:count]).all()


def test_top_p_after_bans():
    logits = np.full([1, 400], -INF, "float32")
    logits[0, 300:303] = [1.0, 1.0, 0.0]
    kept = cutoffs.keep_top_p(tf.constant(logits), tf.constant([0.999])).numpy()
    assert np.flatnonzero(np.isfinite(kept[0])).tolist() == [300, 301, 302]


@pytest.mark.parametrize("size", [5, 256, 1300])
def test_top_k_keeps_the_kth_and_its_equals(size):
    logits = tied(10, size)
    k = np.array([0, 1, 2, 3, 5, 256, 257, 1024, 1025, 5000], np.int32)
    kept = cutoffs.keep_top_k(tf.constant(logits), tf.constant(k)).numpy()
    for i in range(10):
        if 0 < k[i] < size:
            np.testing.assert_array_equal(
                kept[i], np.where(logits[i] >= np.sort(logits[i])[-k[i]], logits[i], -INF)
            )
        else:
            np.testing.assert_array_equal(kept[i], logits[i])


@pytest.mark.parametrize("name", ["keep_top_k", "keep_top_p"])
def test_tiers_agree_bit_by_bit(monkeypatch, name):
    logits = tf.constant(
        np.concatenate([tied(8, 1500), rng.normal(size=(8, 1500)) * 4]).astype("float32")
    )
    value = {
        "keep_top_k": tf.constant([1, 40, 256, 1, 3, 9, 70, 200] * 2),
        "keep_top_p": tf.fill([16], 0.3),
    }[name]
    results = []
    for tiers in ((256, 1024), (1024,), ()):
        monkeypatch.setattr(cutoffs, "_TIERS", tiers)
        results.append(getattr(cutoffs, name)(logits, value).numpy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("p", "widths"), [(0.5, [256]), (0.9, [256, 1024]), (0.99, [256, 1024, 2000]), (1.0, [256])]
)
def test_the_full_sort_is_run_only_when_needed(monkeypatch, p, widths):
    logits = np.full([2, 2000], -8.0, "float32")
    logits[1] = np.where(np.arange(2000) < {0.9: 1000, 0.99: 2000}.get(p, 100), 0.0, -20.0)
    ran, original = [], tf.math.top_k

    def top_k(x, width):
        with tf.control_dependencies([tf.py_function(lambda: ran.append(width), [], [])]):
            return original(tf.identity(x), width)

    monkeypatch.setattr(tf.math, "top_k", top_k)
    tf.function(cutoffs.keep_top_p, autograph=False)(tf.constant(logits), tf.constant([1.0, p]))
    assert ran == widths


def test_min_p():
    probabilities = np.array([[0.5, 0.3, 0.15, 0.05]] * 4, "float32")
    kept = cutoffs.keep_min_p(
        tf.math.log(probabilities), tf.constant([0.0, 0.2, 0.59, 1.0])
    ).numpy()
    assert np.isfinite(kept).sum(-1).tolist() == [4, 3, 2, 1]


def test_min_p_of_one_keeps_the_equals():
    kept = cutoffs.keep_min_p(tf.constant([[2.0, 1.0, 2.0]]), tf.constant([1.0])).numpy()
    assert kept.tolist() == [[2.0, -INF, 2.0]]


@pytest.mark.parametrize(
    ("name", "neutral", "active"),
    [
        ("keep_top_k", 0, 5),
        ("keep_top_p", 1.0, 0.4),
        ("keep_min_p", 0.0, 0.3),
        ("keep_typical", 1.0, 0.3),
        ("keep_epsilon", 0.0, 0.01),
        ("keep_eta", 0.0, 0.01),
    ],
)
def test_neutral_rows_pass_bit_by_bit(name, neutral, active):
    logits = (rng.normal(size=(2, 700)) * 3).astype("float32")
    mixed = getattr(cutoffs, name)(tf.constant(logits), tf.constant([neutral, active])).numpy()
    np.testing.assert_array_equal(mixed[0], logits[0])
    assert (mixed[1] != logits[1]).any()
    alone = getattr(cutoffs, name)(tf.constant(logits[1:]), tf.constant([active])).numpy()
    np.testing.assert_array_equal(mixed[1], alone[0])


@pytest.mark.parametrize(
    "name", ["keep_top_k", "keep_top_p", "keep_min_p", "keep_typical", "keep_epsilon", "keep_eta"]
)
def test_no_rows(name):
    value = tf.zeros([0], tf.int32 if name == "keep_top_k" else tf.float32)
    assert getattr(cutoffs, name)(tf.zeros([0, 1500]), value).shape == (0, 1500)
