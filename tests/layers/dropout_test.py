import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.layers.dropout import Dropout


def test_one_replica_draws_the_masks_of_keras():
    ours, theirs = Dropout(0.4, seed=7), keras.layers.Dropout(0.4, seed=7)
    x = tf.ones([3, 50])
    for _ in range(3):
        np.testing.assert_array_equal(ours(x, training=True), theirs(x, training=True))
    np.testing.assert_array_equal(ours(x, training=False), x)
    assert ours.seed_generator.state.numpy().tolist() == [7, 3]


def test_without_a_rate_there_is_nothing_to_draw():
    layer = Dropout(0.0)
    np.testing.assert_array_equal(layer(tf.ones([2, 3]), training=True), np.ones([2, 3]))
    assert not layer.variables


_REPLICAS = """
    import numpy as np, tensorflow as tf
    from tf_textgen.layers.dropout import Dropout
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
    strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(3)])

    def masks(jit_compile):
        with strategy.scope():
            layer = Dropout(0.5, seed=3)
        drop = tf.function(lambda x: layer(x, training=True), jit_compile=jit_compile, autograph=False)
        draw = tf.function(lambda: strategy.run(lambda: drop(tf.ones([400]))), autograph=False)
        return np.stack([np.stack(strategy.experimental_local_results(draw())) for _ in range(2)])

    for jit_compile in (False, True):
        first = masks(jit_compile)  # [draws, replicas, 400]
        np.testing.assert_array_equal(first, masks(jit_compile))
        rows = first.reshape(6, 400)
        agreement = [[np.mean(a == b) for a in rows] for b in rows]
        assert np.max(agreement - np.eye(6)) < 0.65, agreement  # half by chance
        alone = Dropout(0.5, seed=3)
        drop = tf.function(lambda x: alone(x, training=True), jit_compile=jit_compile, autograph=False)
        np.testing.assert_array_equal(first[0, 0], drop(tf.ones([400])))
"""


@pytest.mark.thorough
def test_replicas_draw_masks_of_their_own_that_can_be_repeated():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_REPLICAS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
