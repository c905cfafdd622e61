import contextlib

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.layers.kv_cache import KeyValues, reserve, write, writes_for_xla


def _random(batch, slots, seed=0):
    rng = np.random.default_rng(seed)
    return KeyValues(
        *(rng.normal(size=(batch, 2, slots, width)).astype(np.float32) for width in (3, 4))
    )


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("for_xla", [False, True])
def test_writes_one_slot_of_all_rows(batch, for_xla):
    past, new = _random(batch, 5), _random(batch, 1, seed=1)
    with writes_for_xla() if for_xla else contextlib.nullcontext():
        run = tf.function(write, jit_compile=for_xla, autograph=False)
        result = run(
            KeyValues(*map(tf.constant, past)), KeyValues(*map(tf.constant, new)), tf.constant(3)
        )
    for before, update, after in zip(past, new, result, strict=True):
        expected = before.copy()
        expected[:, :, 3:4] = update
        np.testing.assert_array_equal(after, expected)


def test_writing_leaves_the_old_cache_as_it_was():
    past = KeyValues(*map(tf.constant, _random(2, 5)))
    before = past.keys.numpy().copy()
    write(past, KeyValues(*map(tf.constant, _random(2, 1, seed=1))), tf.constant(0))
    np.testing.assert_array_equal(past.keys, before)


@pytest.mark.parametrize("capacity", [7, tf.constant(7)])
def test_reserves_empty_slots(capacity):
    past = _random(2, 5)
    keys, values = reserve(KeyValues(*map(tf.constant, past)), capacity)
    np.testing.assert_array_equal(keys[:, :, :5], past.keys)
    assert keys.shape == (2, 2, 7, 3)
    assert values.shape == (2, 2, 7, 4)
    assert not keys[:, :, 5:].numpy().any()


def test_dynamic_capacity_in_a_graph():
    run = tf.function(
        lambda past, capacity: reserve(past, capacity), reduce_retracing=True, autograph=False
    )
    assert run(KeyValues(*map(tf.constant, _random(2, 5))), tf.constant(9)).keys.shape == (
        2,
        2,
        9,
        3,
    )
