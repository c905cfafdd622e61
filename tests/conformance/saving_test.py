"""Every variable comes back from a checkpoint and from a `.keras` file, and with it the
configuration.
"""

import json

import keras
import numpy as np
import pytest

from tests.conformance.cases import CASES, draw, make, often
from tf_textgen.runs.checkpoints import Checkpoints, by_path
from tf_textgen.runs.run_state import RunState


def _values(owner):
    return {path: variable.numpy().copy() for path, variable in by_path(owner.variables).items()}


def _perturb(owner):
    for variable in owner.variables:
        value = np.asarray(variable)
        variable.assign(value + np.asarray(3, value.dtype))


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


@pytest.mark.parametrize("name", often(CASES))
def test_checkpoint(name, tmp_path):
    """Frozen weights, the seeds of dropout and the optimizer's moments among them."""
    case = CASES[name]
    model = make(case)
    if case.learns:
        model.layers[0].trainable = False
        assert model.non_trainable_weights
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    _perturb(optimizer)
    expected = _values(model), _values(optimizer)
    if "dropout" in case.fields:
        assert any("seed_generator" in path for path in expected[0])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=7), model, optimizer)
    for owner in (model, optimizer):
        _perturb(owner)
    assert checkpoints.restore(7, model, optimizer).step == 7
    _assert_same(_values(model), expected[0])
    _assert_same(_values(optimizer), expected[1])


@pytest.mark.parametrize("name", CASES)
def test_configuration(name):
    config = CASES[name].config()
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("name", often(CASES))
def test_keras_file(name, tmp_path):
    """Before a model is compiled and after."""
    case = CASES[name]
    model, features = make(case, dtype="mixed_bfloat16"), draw(case)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.config, loaded.seed, loaded.dtype_policy.name) == (
        model.config,
        1,
        "mixed_bfloat16",
    )
    assert not loaded.compiled
    _assert_same(_values(loaded), _values(model))
    np.testing.assert_array_equal(loaded(features), model(features))
    model.compile(keras.optimizers.Adam(0.5), clip_norm=2.0, label_smoothing=0.1)
    model.optimizer.build(model.trainable_variables)
    _perturb(model.optimizer)
    model.save(tmp_path / "compiled.keras")
    loaded = keras.models.load_model(tmp_path / "compiled.keras")
    assert (loaded.clip_norm, loaded.label_smoothing) == (2.0, 0.1)
    _assert_same(_values(loaded), _values(model))
    _assert_same(_values(loaded.optimizer), _values(model.optimizer))
