import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import random_configs, stack
from tf_textgen.decoding import sampling

INF = float("inf")
rng = np.random.default_rng(0)


def test_uniforms_depend_on_seed_and_step_alone():
    seeds = np.array([0, 1, -1, 2**63 - 1, -(2**63), 1], np.int64)
    long = sampling.uniforms(tf.constant(seeds), 1001).numpy()
    np.testing.assert_array_equal(long[1], long[5])
    assert len({*long[:, 0]}) == 5
    for steps in (1, 2, 3, 7, 64):
        np.testing.assert_array_equal(
            sampling.uniforms(tf.constant(seeds[::-1]), steps), long[::-1, :steps]
        )
    for seed, row in zip(seeds, long, strict=True):
        alone = tf.random.stateless_uniform([1001], [seed, 0], dtype=tf.float64, alg="philox")
        np.testing.assert_array_equal(alone, row)


def test_uniforms_are_uniform():
    draws = np.sort(sampling.uniforms(tf.range(50, dtype=tf.int64), 200).numpy().ravel())
    assert draws[0] >= 0.0 and draws[-1] < 1.0
    assert np.abs(draws - np.arange(10_000) / 10_000).max() < 0.02  # Kolmogorov-Smirnov, p = 0.0007
    assert len({*draws}) == 10_000


def test_uniforms_of_no_rows():
    assert sampling.uniforms(tf.zeros([0], tf.int64), tf.constant(3)).shape == (0, 3)


def test_inverse_cdf_equals_numpy():
    logits = (rng.normal(size=(300, 999)) * 3).astype("float32")
    uniform = rng.random(300)
    cumulative = np.cumsum(np.exp(logits.astype("float64")), axis=-1)
    expected = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(-1)
    np.testing.assert_array_equal(
        sampling.inverse_cdf(tf.constant(logits), tf.constant(uniform)), expected
    )


def test_inverse_cdf_at_the_borders():
    logits = np.array([-INF, 0, 0, -INF, 0, 0, -INF, -INF], "float32")
    uniform = np.array([0, 0.25 - 2**-50, 0.25, 0.5, 0.75, 1 - 2**-53])
    tokens = sampling.inverse_cdf(
        tf.constant(np.tile(logits, (6, 1))), tf.constant(uniform)
    ).numpy()
    assert tokens.tolist() == [1, 1, 2, 4, 5, 5]


def test_inverse_cdf_gives_each_token_its_share():
    logits = rng.normal(size=7).astype("float32")
    uniform = (np.arange(5000) + 0.5) / 5000
    tokens = sampling.inverse_cdf(
        tf.constant(np.tile(logits, (5000, 1))), tf.constant(uniform)
    ).numpy()
    shares = np.exp(logits) / np.exp(logits).sum() * 5000
    assert np.abs(np.bincount(tokens, minlength=7) - shares).max() <= 1.0


def test_inverse_cdf_never_takes_the_impossible_in_a_large_vocabulary():
    logits = np.full([64, 5000], -INF, "float32")
    logits[:, 1000:1003] = [0.0, -200.0, 0.0]
    tokens = sampling.inverse_cdf(
        tf.constant(logits), tf.constant(np.linspace(0, 1 - 2**-53, 64))
    ).numpy()
    assert {*tokens} == {1000, 1002}


def test_a_hopeless_row_stays_in_range():
    nan = float("nan")
    logits = tf.constant([[-INF] * 4, [nan] * 4, [0.0, nan, 0.0, 0.0]])
    tokens = sampling.inverse_cdf(logits, tf.constant([0.0, 0.5, 0.9], tf.float64)).numpy()
    assert ((tokens >= 0) & (tokens < 4)).all()


@pytest.mark.parametrize("size", [3, 1000, 40_000])
def test_greedy_takes_the_lowest_of_equals(size):
    logits = np.zeros([3, size], "float32")
    logits[1, size // 2 :] = 1.0
    logits[2, [1, -1]] = 1.0
    assert sampling.greedy(tf.constant(logits)).numpy().tolist() == [0, size // 2, 1]


def test_log_probabilities_are_finite_where_the_logits_are():
    logits = tf.constant([[3e38, -3e38, 0.0], [1.0, -INF, 0.0]])
    got = sampling.log_probability(logits, tf.constant([1, 1])).numpy()
    assert got.tolist() == [np.finfo("float32").min, -INF]


def test_log_probability():
    logits = np.array([[1.0, 2.0, -INF], [500.0, 0.0, 400.0], [0.0, 0.0, 0.0]], "float32")
    got = sampling.log_probability(tf.constant(logits), tf.constant([0, 1, 2])).numpy()
    np.testing.assert_allclose(got, [-np.log(1 + np.e), -500.0, -np.log(3)], rtol=1e-6)
    assert sampling.log_probability(tf.constant(logits), tf.constant([2, 0, 0])).numpy()[0] == -INF


def test_log_probability_is_the_same_in_any_batch():
    logits = (rng.normal(size=(33, 1237)) * 2).astype("float32")
    tokens = rng.integers(0, 1237, 33).astype("int32")
    batch = sampling.log_probability(tf.constant(logits), tf.constant(tokens)).numpy()
    for i in range(33):
        alone = sampling.log_probability(
            tf.constant(logits[i : i + 1]), tf.constant(tokens[i : i + 1])
        )
        assert alone.numpy()[0] == batch[i]


def test_xla_picks_the_same_tokens():
    logits = tf.constant((rng.normal(size=(64, 1100)) * 2).astype("float32"))
    uniform, parameters = tf.constant(rng.random(64)), stack(random_configs(rng, 64))
    plain = sampling.pick(logits, uniform, parameters)
    texts = ("stop", "banned", "allowed", "forced", "forced_prefix")
    wishes = parameters._replace(
        **dict.fromkeys(texts, tf.zeros([64], tf.int32))
    )  # no strings under XLA
    compiled = tf.function(sampling.pick, jit_compile=True, autograph=False)(
        logits, uniform, wishes
    )
    np.testing.assert_array_equal(plain, compiled)
