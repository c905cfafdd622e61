"""Runs that keep a moving average of their weights: judged by it, trained as without it, resumed
exactly.
"""

import functools
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.training import fitting_test
from tests.training.fitting_test import assert_bitwise_equal, options, scalars, train, weights
from tests.training.tiny import make_tiny, token_loss
from tf_textgen.distribution.workers import Workers
from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoints import Checkpoints, by_path
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.fitting import restore_newest

VALIDATION = range(100, 103)  # the batches that `train` validates on
DECAY = 0.9


@functools.cache
def traced_model():
    """One model for all runs, since tracing takes a second; and its initial variables."""
    model = make_tiny()
    model.compile(model.optimizer, clip_norm=1.0, ema_decay=DECAY, jit_compile=False)
    return model, everything(model)


def new_model():
    model, initial = traced_model()
    for path, variable in variables(model).items():
        variable.assign(initial[path])
    return model


def variables(model):
    averages = {
        f"average/{path}": average for path, average in model.moving_average.by_path().items()
    }
    return by_path(model.variables) | by_path(model.optimizer.variables) | averages


def everything(model):
    return {path: variable.numpy() for path, variable in variables(model).items()}


def saved_averages(path, step):
    """What a checkpoint holds, by the names of tf.train.Checkpoint."""
    reader = tf.train.load_checkpoint(
        str(Checkpoints(path / "checkpoints").folder(step) / "average")
    )
    names = ("embedding/embeddings", "head/kernel", "head/bias")
    escaped = {f"tiny/{name}": f"tiny/{name}".replace("/", ".S") for name in names}
    return {
        path: reader.get_tensor(f"{key}/.ATTRIBUTES/VARIABLE_VALUE")
        for path, key in escaped.items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run without interruption, its last variables, and what its samples saw of the
    weights.
    """
    path, model, seen = tmp_path_factory.mktemp("whole"), new_model(), {}

    def sampler(step):
        seen[step] = weights(model)
        return "text"

    train(path, options(steps=8), model=model, sampler=sampler)
    return path, everything(model), seen


def test_validations_and_samples_are_of_the_averages(whole):
    path, last, seen = whole
    logged = scalars(path / "logs" / "validation")["metrics/loss"]
    assert sorted(logged) == sorted(seen) == [3, 6, 8]
    for step in (6, 8):
        averages = saved_averages(path, step)
        assert logged[step] == pytest.approx(token_loss(averages, VALIDATION)[0], rel=1e-5)
        for name, value in averages.items():
            np.testing.assert_array_equal(seen[step][name], value)
    assert abs(logged[8] - token_loss(last, VALIDATION)[0]) > 1e-3


def test_averages_change_nothing_of_the_training(whole, tmp_path):
    plain, _, _, _ = train(tmp_path, options(steps=8))
    assert_bitwise_equal(
        weights(plain), {p: v for p, v in whole[1].items() if not p.startswith("average/")}
    )
    folder = Checkpoints(tmp_path / "checkpoints").folder(8)
    assert {path.name.split(".")[0] for path in folder.iterdir()} == {
        "model",
        "optimizer",
        "state",
        "manifest",
    }


def test_interrupted_and_resumed_equals_uninterrupted_bitwise(whole, tmp_path):
    sampler = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 3 else None  # noqa: E731
    _, state, result, _ = train(tmp_path, options(steps=8), model=new_model(), sampler=sampler)
    assert (state.step, result.signal) == (3, signal.SIGTERM)
    resumed, _, _, _ = train(tmp_path, options(steps=8), model=new_model())
    assert_bitwise_equal(everything(resumed), whole[1])


def test_a_checkpoint_gives_either(whole):
    path, last, _ = whole
    checkpoints, model = Checkpoints(path / "checkpoints"), new_model()
    assert checkpoints.restore_weights(8, model, "trained") == "trained"
    for name, value in saved_averages(path, 8).items():
        np.testing.assert_array_equal(weights(model)[name], last[name])
        assert not np.array_equal(value, last[name])
    for which in (None, "average"):
        assert checkpoints.restore_weights(8, model, which) == "average"
        for name, value in saved_averages(path, 8).items():
            np.testing.assert_array_equal(weights(model)[name], value)


def test_a_checkpoint_without_averages(tmp_path):
    checkpoints, model, without = (
        Checkpoints(tmp_path / "checkpoints"),
        new_model(),
        fitting_test.new_model(),
    )
    checkpoints.save(RunState(step=2), without, without.optimizer)
    assert checkpoints.restore_weights(2, model) == "trained"
    said = "--run.weights=average: .*step-00000002 has no moving averages, expected a run trained with --optimizer.ema"
    with pytest.raises(UserError, match=said):
        checkpoints.restore_weights(2, model, "average")
    with pytest.raises(
        UserError,
        match="does not fit this model: tiny/embedding/embeddings is absent in the checkp",
    ):
        restore_newest(checkpoints, model, Workers())
