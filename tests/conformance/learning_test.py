"""A trivial task is learned completely: what masks, shifts, positions or caches get wrong shows
here.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import BOS, CASES, LEARNING, build
from tests.support.thorough import cases

ROWS, LONGEST = 64, 4


def _copying(case):
    """`(features, labels, weights)`: a source and the same target, or `<s> x <s> x` of which the
    second x counts.
    """
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, LONGEST + 1, ROWS)
    words = rng.integers(3, 9, (ROWS, LONGEST)) * (np.arange(LONGEST) < lengths[:, None])
    ended = np.pad(words, [(0, 0), (0, 1)])
    ended[np.arange(ROWS), lengths] = 2
    target = np.concatenate([np.full((ROWS, 1), BOS), words], axis=1)
    weights = (np.arange(LONGEST + 1) <= lengths[:, None]).astype(np.float32)
    if case.reads_source:
        features = {"source_tokens": ended, "source_lengths": lengths + 1, "target_tokens": target}
    else:
        features = {"target_tokens": np.concatenate([target, target], axis=1)}
        ended = np.concatenate([np.zeros_like(target), ended], axis=1)
        weights = np.concatenate([np.zeros_like(weights), weights], axis=1)
    features = {name: value.astype(np.int32) for name, value in features.items()}
    return features, ended.astype(np.int32), weights


@pytest.mark.parametrize("name", cases(LEARNING, always=["gpt2"]))
def test_learns_to_copy(name):
    case = CASES[name]
    model = build(case, **{"dropout": 0.0, "width": 32, **case.copying})
    model.compile(keras.optimizers.Adam(case.copying_rate), clip_norm=1.0, jit_compile=False)
    batch = tf.data.Dataset.from_tensors(_copying(case))
    history = model.fit(
        batch.repeat(case.copying_steps // 10), epochs=10, verbose=0, shuffle=False
    ).history
    assert (
        history["perplexity"][-1] < 1.05 < history["perplexity"][0]
        and history["accuracy"][-1] > 0.99
    )
