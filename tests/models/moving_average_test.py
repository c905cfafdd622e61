"""The moving average of the weights, against the recurrence in NumPy: alone, under XLA and on two
replicas.
"""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from tests.models.base_test import _batch, _model, _table
from tf_textgen.errors import UserError
from tf_textgen.models import moving_average

DECAY = 0.5  # from the eighth update on; before it, (1 + n) / (10 + n) is smaller
STEPS = 12


def averages(weights, decay=DECAY):
    """What averages should be after the last of `weights`, the first being from before
    the updates.
    """
    average = np.asarray(weights[0], np.float64)
    for n, weight in enumerate(weights[1:], start=1):
        d = min(decay, (1 + n) / (10 + n)) if n > 1 else 0.0
        average = d * average + (1 - d) * weight
    return average


def average_of(model):
    return np.asarray(model.moving_average.by_path()["bigram/table/embeddings"])


def moving_table(steps=STEPS, **options):
    """A trained model and its table after each update."""
    model = _model(ema_decay=DECAY, **options)
    tables = [_table(model)]
    for step in range(steps):
        model.train_on_batch(*_batch(step))
        tables.append(_table(model))
    return model, tables


@pytest.mark.parametrize("jit_compile", [False, True])
def test_averages_equal_numpy_at_every_update(jit_compile, monkeypatch):
    traces, update = [], moving_average.MovingAverage.update
    monkeypatch.setattr(
        moving_average.MovingAverage, "update", lambda self: traces.append(1) or update(self)
    )
    model = _model(ema_decay=DECAY, jit_compile=jit_compile)
    tables = [_table(model)]
    for step in range(STEPS):
        model.train_on_batch(*_batch(step))
        tables.append(_table(model))
        np.testing.assert_allclose(average_of(model), averages(tables), atol=1e-6)
    assert traces == [1] and int(model.moving_average.by_path()["updates"]) == STEPS
    assert np.abs(averages(tables) - tables[-1]).max() > 0.01


def test_in_place_and_back_to_the_bit():
    model, tables = moving_table(3)
    with model.averaged():
        np.testing.assert_array_equal(_table(model), average_of(model))
    np.testing.assert_array_equal(_table(model), tables[-1])
    with pytest.raises(KeyboardInterrupt), model.averaged():
        raise KeyboardInterrupt
    np.testing.assert_array_equal(_table(model), tables[-1])
    model.train_on_batch(*_batch(3))
    np.testing.assert_allclose(average_of(model), averages([*tables, _table(model)]), atol=1e-6)


def test_half_a_change_of_place_is_undone():
    model, tables = moving_table(1)
    model.moving_average._averages.append(None)
    with pytest.raises(ValueError), model.averaged():
        pass
    np.testing.assert_array_equal(_table(model), tables[-1])


def test_without_a_decay_nothing_is_kept():
    model = _model()
    model.train_on_batch(*_batch())
    before = _table(model)
    with model.averaged():
        np.testing.assert_array_equal(_table(model), before)
    assert model.moving_average is None


def test_frozen_weights_have_no_average():
    model = _model()
    model.freeze(["table"])
    model.compile(keras.optimizers.SGD(1.0), ema_decay=DECAY)
    assert list(model.moving_average.by_path()) == ["updates"]


def test_keras_file_keeps_the_decay_and_averaging_begins_anew(tmp_path):
    model, _ = moving_table(2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (
        loaded.moving_average.decay == DECAY
        and int(loaded.moving_average.by_path()["updates"]) == 0
    )
    with loaded.averaged():
        np.testing.assert_array_equal(
            _table(loaded), _table(model), err_msg="there is no average yet, weights there are"
        )
    loaded.train_on_batch(*_batch(2))
    np.testing.assert_allclose(average_of(loaded), _table(loaded), atol=1e-6)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_that_would_not_average_is_named(decay):
    with pytest.raises(
        UserError,
        match=rf"ema_decay={decay:g}: expected a value in \[0, 1\), 0 for no moving average",
    ):
        _model(ema_decay=decay)


_REPLICAS = """
    import keras, numpy as np, sys, tensorflow as tf
    from tests.models import base_test as b, moving_average_test as t
    from tf_textgen.runs.checkpoints import Checkpoints
    from tf_textgen.runs.run_state import RunState
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    def make(strategy):
        with strategy.scope():
            model = b._model(optimizer=keras.optimizers.SGD(1.0, name="sgd"), ema_decay=t.DECAY, jit_compile=True)
            model.optimizer.build(model.trainable_variables)
        return model
    def run(strategy):
        model = make(strategy)
        data = tf.data.Dataset.from_tensor_slices(b._batch(rows=4)).batch(4, drop_remainder=True).repeat(t.STEPS)
        tables = [b._table(model)]
        keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: tables.append(b._table(model)))
        model.fit(data, verbose=0, shuffle=False, callbacks=[keep])
        np.testing.assert_allclose(t.average_of(model), t.averages(tables), atol=1e-6)
        return model
    one, two = run(tf.distribute.get_strategy()), run(mirrored)
    np.testing.assert_allclose(t.average_of(two), t.average_of(one), atol=1e-6)
    average = two.moving_average.by_path()["bigram/table/embeddings"]
    halves = [value.numpy() for value in mirrored.experimental_local_results(average)]
    assert len(halves) == 2
    np.testing.assert_array_equal(*halves)
    before, table = b._table(two), two.table.embeddings.value
    with two.averaged():
        for value in mirrored.experimental_local_results(table):
            np.testing.assert_array_equal(value.numpy(), halves[0])
    for value in mirrored.experimental_local_results(table):
        np.testing.assert_array_equal(value.numpy(), before)
    # A checkpoint of two replicas is one of one device, and the other way round.
    checkpoints = Checkpoints(sys.argv[1], 9)
    for step, source, strategy in ((1, two, tf.distribute.get_strategy()), (2, one, mirrored)):
        checkpoints.save(RunState(step=step), source, source.optimizer)
        again = make(strategy)
        checkpoints.restore(step, again, again.optimizer)
        for path, value in again.moving_average.by_path().items():
            for local in strategy.experimental_local_results(value):
                np.testing.assert_array_equal(local.numpy(), np.asarray(source.moving_average.by_path()[path]))
        assert checkpoints.restore_weights(step, again) == "average"
        np.testing.assert_array_equal(b._table(again), t.average_of(source))
"""


@pytest.mark.thorough
def test_replicas_move_their_averages_alike(tmp_path):
    """In a process of its own, since devices are made once."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_REPLICAS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
