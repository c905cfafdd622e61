"""The processors equal those of transformers, whose outputs
`tests/golden/write_logits_processors.py` wrote down.
"""

import ast
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import stack
from tf_textgen.decoding import constraints, cutoffs, logits, repetition, state
from tf_textgen.decoding.decoding_config import DecodingConfig

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "logits_processors.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def past(golden):
    tokens, new = golden["tokens"], int(golden["new"])
    lengths = tf.fill([len(tokens)], tokens.shape[1] - new)
    return state.History(
        *map(tf.constant, (tokens[:, :-new], lengths, tokens[:, -new:], new)), None
    )


# On these logits no two are equal. If some are, top-p keeps the lower ids only here, and as the
# sort falls there.
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("name", ["top_k", "top_p", "min_p", "typical", "epsilon", "eta"])
def test_cutoffs(golden, name, size):
    given = golden[size]
    kept = getattr(cutoffs, f"keep_{name}")(
        tf.constant(given), tf.constant(golden[f"{name}_values"])
    ).numpy()
    np.testing.assert_array_equal(kept, np.where(golden[f"{name}_{size}"], given, -np.inf))
    assert len({*golden[f"{name}_{size}"].sum(axis=1)}) > 4


def test_temperature_but_for_the_row_s_constant(golden):
    scaled = logits.scale(
        tf.constant(golden["small"]), tf.constant(golden["temperature_values"])
    ).numpy()
    expected = golden["temperature_small"]
    at_zero = [x - x.max(axis=1, keepdims=True) for x in (scaled, expected)]
    np.testing.assert_allclose(*at_zero, rtol=1e-5, atol=1e-5)


def test_repetition_penalty(golden, past):
    weakened = repetition.penalize_repetition(
        golden["small"], tf.constant(golden["repetition_values"]), past
    )
    np.testing.assert_allclose(weakened, golden["repetition_small"], rtol=1e-6)


def test_no_repeat_ngram(golden, past):
    left = repetition.forbid_ngrams(
        tf.constant(golden["small"]), tf.constant(golden["ngram_values"]), past
    )
    np.testing.assert_array_equal(np.isfinite(left), golden["ngram_small"])


def test_banned_words(golden, past):
    rows = [ast.literal_eval(row) for row in golden["bad_words"]]
    banned = np.full((len(rows), 3, 3), -1, np.int32)
    for i, row in enumerate(rows):
        for k, word in enumerate(row):
            banned[i, k, : len(word)] = word
    lengths = (banned >= 0).sum(axis=-1).astype(np.int32)
    given = constraints.Words(tf.constant(banned), tf.constant(lengths))
    left = logits.forbid_words(tf.constant(golden["small"]), given, past)
    np.testing.assert_array_equal(np.isfinite(left), golden["bad_words_small"])


def test_min_new_tokens(golden, past):
    wishes = stack([DecodingConfig(min_new_tokens=n) for n in golden["min_new_values"].tolist()])
    none = constraints.no_constraints(len(golden["small"]))
    left = logits.adjust(tf.constant(golden["small"]), wishes, none, past, eos_id=3, banned_ids=())
    np.testing.assert_array_equal(np.isfinite(left), golden["min_new_small"])
