"""That words are written under every search, be it the worst one."""

import numpy as np
import tensorflow as tf

from tests.decoding.markov import EOS, contains
from tf_textgen.decoding import forcing
from tf_textgen.decoding.constraints import Words, no_constraints
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.logits import adjust
from tf_textgen.decoding.parameters import from_config
from tf_textgen.decoding.state import History

ROWS, ROOM, SIZE = 64, 20, 8
WORDS = [[5, 6], [6, 5, 6], [7], [5, 5]]


def test_no_told_place_is_outside_of_its_word():
    """Whatever a request says of what is written: a gather that fails would fail the requests
    next to it.
    """
    told = tf.constant([[0, 1], [0, 2], [0, -1], [0, -(2**31)], [2, 1], [-1, 1], [1, 0]])
    rows = len(told)
    words = Words(tf.constant([[[5, 6], [7, -1]]] * rows), tf.constant([[2, 1]] * rows))
    found = forcing.resume(words, tf.zeros([rows, 3], tf.int32), told[:, 0], told[:, 1])
    assert found.word.numpy().tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert found.place.numpy().tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert forcing.next_token(found, words).numpy().tolist() == [6] + [5] * (rows - 1)


def test_adjust_alone_gives_the_guarantee():
    """A random walk over what is possible, as a beam may take it, ends with all words, however near
    to its bound.
    """
    rng = np.random.default_rng(0)
    some = [[w for w in WORDS if rng.random() < 0.6] for _ in range(ROWS)]
    tokens, lengths = np.full((ROWS, 4, 3), -1, np.int32), np.zeros((ROWS, 4), np.int32)
    for i, row in enumerate(some):
        for k, word in enumerate(row):
            tokens[i, k, : len(word)], lengths[i, k] = word, len(word)
    given = Words(tf.constant(tokens), tf.constant(lengths))
    constraints = no_constraints(ROWS)._replace(forced=given)
    room = np.maximum(lengths.sum(axis=1), rng.integers(1, ROOM + 1, ROWS)).astype(np.int32)
    parameters = from_config(DecodingConfig(), ROWS)._replace(max_new_tokens=tf.constant(room))
    texts, ended = np.zeros((ROWS, ROOM), np.int32), np.zeros(ROWS, bool)
    state, early = forcing.begin(given), 0
    for step in range(ROOM):
        history = History(
            tf.fill([ROWS, 1], 2),
            tf.ones([ROWS], tf.int32),
            tf.constant(texts),
            tf.constant(step),
            state,
        )
        logits = adjust(
            tf.zeros([ROWS, SIZE]),
            parameters,
            constraints,
            history,
            eos_id=EOS,
            banned_ids=(0, 1, 2, 4),
        )
        due = forcing.is_due(state, given, parameters.max_new_tokens - step)
        walk = np.array(
            [rng.choice(np.flatnonzero(np.isfinite(row))) for row in logits.numpy()], np.int32
        )
        ended |= step >= room
        texts[:, step] = np.where(ended, 0, walk)
        early += (~ended & (walk == EOS)).sum()
        ended |= walk == EOS
        state = forcing.advance(state, given, tf.constant(texts), step + 1, due)
    for row, wanted in zip(texts.tolist(), some, strict=True):
        assert all(contains(row, word) for word in wanted)
    assert early > 9
