"""The n-gram model against dictionaries, and the contract of all models."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_models
from tests.support.kneser_ney_oracle import Oracle
from tf_textgen.errors import UserError
from tf_textgen.models.kneser_ney import estimate
from tf_textgen.models.ngram import NGramLM
from tf_textgen.models.ngram_config import NGramConfig
from tf_textgen.models.ngram_counts import NGramCounts
from tf_textgen.objectives import token_log_probabilities
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_state import RunState
from tf_textgen.runs.xla import use_xla

PAD, BOS, EOS, SEP = 0, 2, 3, 4
V, NEVER, TOKENS = 9, (PAD, BOS, SEP), range(5, 9)
ORDERS = range(1, 7)


def documents(seed=0, count=60, longest=12):
    """Token rows `<s> ... </s>` in which some tokens are much rarer than others."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest, count)
    return [[BOS, *rng.choice(TOKENS, n, p=[0.6, 0.25, 0.1, 0.05]).tolist(), EOS] for n in lengths]


def build(order, rows, dtype=None):
    """A model of whole rows, all of whose tokens but the first are labels."""
    tokens = np.concatenate(rows)
    counts = NGramCounts(order, V, BOS)
    counts.add(tokens, tokens != BOS)
    found = estimate(counts.table(), V, NEVER)
    sizes = {"contexts": found.contexts, "continuations": found.continuations}
    config = NGramConfig(vocabulary_size=V, order=order, **sizes)
    model = NGramLM(config, dtype=dtype).initialize()
    model.assign(found)
    return model, found


def oracle_of(order, rows):
    labelled = [(row, [False, *[True] * (len(row) - 1)]) for row in rows]
    return Oracle(labelled, order, [i for i in range(V) if i not in NEVER], BOS)


@pytest.fixture(scope="module")
def models():
    return {order: build(order, documents())[0] for order in ORDERS}


def assert_same(one, other):
    """To the last bit but one: a vectorised logarithm ends otherwise at the edge of an array than
    within it.
    """
    np.testing.assert_allclose(one, other, rtol=3e-7)


def log_probabilities(model, rows):
    return model({"target_tokens": tf.constant(rows, tf.int32)}).numpy()


@pytest.mark.parametrize(
    "seed, count, longest", [(0, 60, 12), (1, 400, 30), (2, 3, 9)], ids=["some", "many", "few"]
)
@pytest.mark.parametrize("order", ORDERS)
def test_every_probability_of_every_context_is_the_papers(order, seed, count, longest):
    """All contexts over the alphabet, seen ones and others, with `<s>` anywhere; estimated
    discounts and stand-ins.
    """
    rows = documents(seed, count, longest)
    (model, found), oracle = build(order, rows), oracle_of(order, rows)
    for n, discounts in enumerate(found.discounts, start=1):
        *values, estimated = oracle.discounts[n]
        assert discounts.estimated == estimated
        np.testing.assert_allclose(discounts.values, values, rtol=1e-12)
    for length in range(1, order):
        contexts = list(itertools.product((BOS, *TOKENS), repeat=length))
        expected = [
            [oracle.probability(word, context) for word in range(V)] for context in contexts
        ]
        got = np.exp(log_probabilities(model, contexts)[:, -1])
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-30)
    if order == 1:
        got = np.exp(log_probabilities(model, [[5, 6]]))
        np.testing.assert_allclose(
            got[0], [[oracle.probability(word, ()) for word in range(V)]] * 2, rtol=2e-5, atol=1e-30
        )


def test_corpora_of_the_test_have_both_kinds_of_discounts():
    kinds = {
        (count, d.estimated)
        for count in (60, 3)
        for d in build(4, documents(0, count))[1].discounts
    }
    assert {(60, True), (60, False), (3, False)} <= kinds


@pytest.mark.parametrize("order", ORDERS)
def test_rows_sum_to_one_and_are_finite(models, order):
    tokens = np.random.default_rng(1).integers(0, V, (5, 11))
    result = log_probabilities(models[order], tokens)
    assert result.dtype == np.float32 and np.isfinite(result).all()
    np.testing.assert_allclose(np.exp(result.astype(np.float64)).sum(-1), 1.0, atol=2e-6)
    assert (np.exp(result[..., list(NEVER)]) < 1e-37).all()


@pytest.mark.parametrize("order", ORDERS)
def test_steps_equal_the_whole_sequence(models, order):
    """Prompts of different lengths, left-padded, in one batch: each row as if alone and
    unpadded.
    """
    model, tokens, lengths = (
        models[order],
        np.random.default_rng(2).integers(5, 9, (3, 12)),
        np.array([1, 8, 3]),
    )
    tokens[0, 0] = BOS
    whole = log_probabilities(model, tokens)
    prompts = np.full((3, 8), 6, np.int32)  # what stands in the padding is not read
    for row, length in enumerate(lengths):
        prompts[row, 8 - length :] = tokens[row, :length]
    logits, state = model.start(
        {"target_tokens": prompts, "target_lengths": tf.constant(lengths, tf.int32)}, 12
    )
    for step in range(4):
        assert_same(logits, whole[np.arange(3), lengths + step - 1])
        logits, state = model.step(
            tf.constant(tokens[np.arange(3), lengths + step], tf.int32), state
        )
    assert_same(logits, whole[np.arange(3), lengths + 3])
    assert state.per_step["history"].shape == (3, order - 1)


def test_a_row_gives_what_it_gives_alone_and_no_rows_give_none(models):
    model, tokens = models[4], np.random.default_rng(3).integers(5, 9, (6, 10))
    together = log_probabilities(model, tokens)
    for row in range(6):
        assert_same(log_probabilities(model, tokens[row : row + 1])[0], together[row])
    assert log_probabilities(model, np.zeros((0, 3))).shape == (0, 3, V)
    none = {"target_tokens": tf.zeros([0, 3], tf.int32), "target_lengths": tf.zeros([0], tf.int32)}
    logits, state = model.start(none, 5)
    assert model.step(tf.zeros([0], tf.int32), state)[0].shape == logits.shape == (0, V)


@pytest.mark.parametrize("order", [1, 3, 6])
def test_a_token_changes_nothing_before_it(models, order):
    tokens = np.random.default_rng(4).integers(5, 9, (1, 8))
    before = log_probabilities(models[order], tokens)
    for t in range(8):
        changed = tokens.copy()
        changed[0, t] = 5 + (changed[0, t] - 4) % 4
        after = log_probabilities(models[order], changed)
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (order == 1) == np.array_equal(after[:, t], before[:, t])


def test_packed_segments_score_as_they_do_alone(models):
    model, lengths = models[5], (4, 1, 6)
    tokens, labels = (
        np.random.default_rng(seed).integers(5, 9, (1, 11)).astype(np.int32) for seed in (5, 6)
    )
    features = {
        "target_tokens": tokens,
        "segment_ids": tf.constant([np.repeat((1, 2, 3), lengths)], tf.int32),
    }
    packed = token_log_probabilities(model(features), labels).numpy()[0]
    start = 0
    for n in lengths:
        one = slice(start, start + n)
        alone = token_log_probabilities(
            model({"target_tokens": tokens[:, one]}), labels[:, one]
        ).numpy()[0]
        assert_same(packed[one], alone)
        start += n


@pytest.mark.parametrize("order", [1, 3])
def test_one_trace_of_a_loop_serves_all_shapes(models, order):
    model = models[order]
    spec = {
        "target_tokens": tf.TensorSpec([None, None], tf.int32),
        "target_lengths": tf.TensorSpec([None], tf.int32),
    }

    def body(logits, state):
        return model.step(tf.argmax(logits, -1, tf.int32), state)

    @tf.function(input_signature=[spec], autograph=False)
    def run(features):
        return tf.while_loop(lambda *_: True, body, model.start(features, 9), maximum_iterations=2)[
            0
        ]

    for rows, length in ((2, 1), (1, 5), (0, 2)):
        features = {
            "target_tokens": tf.fill([rows, length], 6),
            "target_lengths": tf.fill([rows], length),
        }
        assert_same(run(features), body(*body(*model.start(features, 9)))[0])
    assert run.experimental_get_tracing_count() == 1


def test_evaluation_sums_the_tokens_and_labels_without_weight_do_no_harm(models):
    model, rows = models[3], documents(7, 5)
    tokens = np.concatenate(rows)[None]
    labels, weights = tokens[:, 1:], (tokens[:, 1:] != BOS).astype(np.float32)
    assert (labels == BOS).any()
    model.compile()
    loss = model.test_on_batch(
        {"target_tokens": tokens[:, :-1]}, labels, weights, return_dict=True
    )["loss"]
    oracle, flat = oracle_of(3, documents()), tokens[0].tolist()
    nats = [
        -np.log(oracle.probability(flat[i], flat[:i]))
        for i in range(1, len(flat))
        if flat[i] != BOS
    ]
    assert loss == pytest.approx(np.mean(nats), rel=1e-5)


def test_xla_is_never_used(models):
    assert not use_xla(RunConfig(xla="auto"), models[2], is_pairs=False)
    assert use_xla(RunConfig(xla="auto"), tiny_models.model("rnn_lm", 9), is_pairs=False)
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        models[2].compile(jit_compile=True)
    assert models[2].jit_compile is False


def test_bfloat16_changes_nothing():
    tokens = np.random.default_rng(8).integers(5, 9, (2, 6))
    exact, mixed = (build(3, documents(), dtype)[0] for dtype in ("float32", "mixed_bfloat16"))
    np.testing.assert_array_equal(
        log_probabilities(mixed, tokens), log_probabilities(exact, tokens)
    )


def test_before_it_is_counted_the_distribution_is_uniform():
    model = NGramLM(NGramConfig(vocabulary_size=5, order=3)).initialize()
    np.testing.assert_allclose(log_probabilities(model, [[1, 2, 3]]), -np.log(5), rtol=1e-6)


def test_keras_file_round_trip(models, tmp_path):
    tokens = np.random.default_rng(9).integers(5, 9, (2, 6))
    models[4].save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.config == models[4].config
    np.testing.assert_array_equal(
        log_probabilities(loaded, tokens), log_probabilities(models[4], tokens)
    )


def test_checkpoint_brings_every_table_back(tmp_path):
    model, _ = build(4, documents())
    saved = [weight.numpy().copy() for weight in model.weights]
    Checkpoints(tmp_path).save(RunState(step=1), model)
    for weight in model.weights:
        weight.assign(weight.numpy() + np.ones((), weight.numpy().dtype))
    Checkpoints(tmp_path).restore(1, model)
    assert len(saved) == 1 + 3 * 5 and {"ngram/order_3/keys", "ngram/unigrams/probabilities"} <= {
        weight.path for weight in model.weights
    }
    for weight, value in zip(model.weights, saved, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value, err_msg=weight.path)


def test_no_table_is_trainable_and_fit_is_refused(models):
    model = models[2]
    model.trainable = True
    assert model.trainable_variables == []
    model.compile()
    with pytest.raises(UserError, match="fit with an n-gram model: expected `assign`"):
        model.fit(
            {"target_tokens": np.zeros((1, 2), np.int32)}, np.zeros((1, 2), np.int32), verbose=0
        )


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"order": 0}, "--ngram.order=0: expected a value at least 1 and at most 6"),
        ({"order": 7}, "--ngram.order=7: expected a value at least 1 and at most 6"),
        ({"pad_id": 9}, "pad_id=9: expected an id below vocabulary_size=9"),
        (
            {"order": 3, "contexts": (4,)},
            "--ngram.order=3 with ngram.contexts of 2 orders: expected the order that",
        ),
    ],
)
def test_bad_fields_say_what_to_change(fields, message):
    with pytest.raises(UserError, match=message):
        NGramConfig(vocabulary_size=V, **fields)


def test_json_round_trip_leaves_out_what_is_not_counted():
    counted = NGramConfig(vocabulary_size=V, order=3, contexts=(4, 5), continuations=(6, 7))
    assert NGramConfig.from_json(counted.to_json()) == counted
    assert set(NGramConfig(vocabulary_size=V).to_json()) == {"vocabulary_size", "pad_id", "order"}
