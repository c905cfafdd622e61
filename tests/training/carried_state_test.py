"""Runs with carried state: exact resumption at any step, checkpoints, several replicas."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tests.support.data_files import random_texts, text_split
from tests.training.fitting_test import assert_bitwise_equal, weights
from tf_textgen.distribution.workers import Workers
from tf_textgen.errors import UserError
from tf_textgen.models.rnn_lm import RNNLM
from tf_textgen.models.rnn_lm_config import RNNLMConfig
from tf_textgen.models.transformer_lm import TransformerLM
from tf_textgen.models.transformer_lm_config import TransformerLMConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.optimizers.optimizers import make_optimizer
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_folder import RunFolder
from tf_textgen.training.fitting import fit, open_data, restore_newest

OPTIONS = {"context": 5, "batch_size": 3, "carry_state": True}
LAST = 11  # in the second epoch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return text_split(folder, random_texts(12, 12, seed=2), **OPTIONS)


def make_model(split, rows=3):
    config = RNNLMConfig(
        vocabulary_size=split.vocabulary_size,
        width=6,
        num_layers=2,
        dropout=0.3,
        recurrent_dropout=0.2,
    )
    model = RNNLM(config, seed=1).initialize()
    optimizer = make_optimizer(
        OptimizerConfig(learning_rate=0.05, warmup_steps=2), model.trainable_variables
    )
    model.compile(optimizer, carried_rows=rows, jit_compile=False)
    return model


def train(path, corpus, steps, sampler=None, model=None):
    """Goes on with the run in `path` as `training.run_training` does."""
    split, config = corpus
    model = model or make_model(split)
    run = RunConfig(
        steps=steps, validate_every=4, checkpoint_every=3, log_every=2, keep_checkpoints=9
    )
    checkpoints = Checkpoints(path / "checkpoints", 9)
    with RunFolder(path) as folder:
        folder.write_recipe([])
        state = restore_newest(checkpoints, model, Workers())
        both = {"train": split, "valid": split}
        data = open_data(
            both,
            config,
            model_kind="language_model",
            seed=1,
            start_step=state.step,
            strategy=tf.distribute.get_strategy(),
            micro_batches=1,
        )
        fit(
            model,
            data,
            run,
            folder,
            checkpoints,
            state,
            Workers(),
            sampler=sampler,
            output=io.StringIO(),
        )
    return model


def everything(model):
    return {
        **weights(model),
        **{name: value.numpy() for name, value in model.carried_state.gather().items()},
    }


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The folder of a run without interruption, and its last variables."""
    path = tmp_path_factory.mktemp("whole")
    return path, everything(train(path, corpus, LAST))


def test_interrupted_and_resumed_equals_uninterrupted_bitwise(tmp_path, corpus, whole):
    sampler = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 4 else None  # noqa: E731
    train(tmp_path, corpus, LAST, sampler)
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == 4
    assert_bitwise_equal(everything(train(tmp_path, corpus, LAST)), whole[1])


@pytest.mark.thorough
def test_without_its_carried_state_a_run_would_end_elsewhere(tmp_path, corpus, whole):
    """The test above sees the carried state: here it is set to zeros when the run is taken up
    again.
    """
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    model = make_model(corpus[0])
    state = checkpoints.restore(9, model, model.optimizer)
    values = model.carried_state.gather()
    assert all(np.any(value) for value in values.values())
    model.carried_state.scatter({name: tf.zeros_like(value) for name, value in values.items()})
    for step in checkpoints.steps():
        shutil.rmtree(checkpoints.folder(step))
    checkpoints.save(state, model, model.optimizer)
    ended = everything(train(tmp_path, corpus, LAST))
    assert not np.array_equal(ended["rnn_lm/embedding/table"], whole[1]["rnn_lm/embedding/table"])


def test_checkpoints_restore_the_carried_state_of_a_training_alone(corpus, whole):
    checkpoints, (split, _) = Checkpoints(whole[0] / "checkpoints"), corpus
    model = make_model(split)
    checkpoints.restore(LAST, model)
    assert not any(np.any(value) for value in model.carried_state.gather().values())
    checkpoints.restore(LAST, model, model.optimizer)
    assert_bitwise_equal(everything(model), whole[1])
    plain = make_model(split, rows=None)
    checkpoints.restore(LAST, plain)
    for path, variable in weights(plain).items():
        if path.startswith("rnn_lm/"):
            np.testing.assert_array_equal(variable, whole[1][path])
    other = make_model(split, rows=4)
    message = r"state_0 is \[\[3, 6\], 'float32'\] in the checkpoint and \[\[4, 6\], 'float32'\] in the model"
    with pytest.raises(UserError, match=message):
        checkpoints.restore(LAST, other, other.optimizer)


def test_states_saved_by_replica_are_read_side_by_side(corpus, whole, tmp_path):
    """As checkpoints were written before they held the states of all rows together."""
    shutil.copytree(whole[0] / "checkpoints", tmp_path, dirs_exist_ok=True)
    folder = Checkpoints(tmp_path).folder(LAST)
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = {name: value for name, value in whole[1].items() if name.startswith("state_")}
    old = {
        f"replica_{i}/{name}": value[i : i + 1] for name, value in rows.items() for i in range(3)
    }
    manifest["variables"]["carried"] = {
        path: [list(value.shape), "float32"] for path, value in old.items()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    tf.train.Checkpoint(**{path: tf.Variable(value) for path, value in old.items()}).write(
        str(folder / "carried")
    )
    model = make_model(corpus[0])
    Checkpoints(tmp_path).restore(LAST, model, model.optimizer)
    assert_bitwise_equal(everything(model), whole[1])


def test_a_family_without_such_a_state_is_refused():
    model = TransformerLM(TransformerLMConfig(vocabulary_size=5, width=8))
    message = (
        "transformer_lm has no state that one batch could hand to the next: expected a recurrent "
        "language model for --data.carry_state; leave it out or choose --model=rnn_lm"
    )
    with pytest.raises(UserError, match=message):
        model.compile("sgd", carried_rows=2)


_REPLICAS = """
    import keras, numpy as np, sys, tensorflow as tf
    from tests.models import rnn_lm_test as t
    from tests.training.fitting_test import weights
    from tf_textgen.errors import UserError
    from tf_textgen.runs.checkpoints import Checkpoints
    from tf_textgen.runs.run_state import RunState
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    data = t.streams(t.draw(4, 9, seed=7), 4).repeat(2).take(3)
    def make(strategy, jit_compile, rows=4):
        with strategy.scope():
            model = t.make("lstm")
            model.compile(keras.optimizers.SGD(0.5, name="sgd"), carried_rows=rows, jit_compile=jit_compile)
            model.optimizer.build(model.trainable_variables)
        return model
    def run(strategy, jit_compile):
        model = make(strategy, jit_compile)
        model.fit(data, verbose=0, shuffle=False)
        loss = model.evaluate(data, verbose=0, return_dict=True)["loss"]
        return model, model.get_weights(), loss
    mirrored = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    one, expected, loss = run(tf.distribute.get_strategy(), False)
    two, actual, other_loss = run(mirrored, True)  # XLA around forward and backward pass, the states' assignment in it
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
    before = two.carried_state.gather()
    for name, value in one.carried_state.gather().items():
        np.testing.assert_allclose(before[name], value, atol=1e-6)
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save(RunState(step=3), two, two.optimizer)
    for strategy in (mirrored, tf.distribute.get_strategy()):  # the number of replicas may change
        again = make(strategy, False)
        checkpoints.restore(3, again, again.optimizer)
        for name, value in again.carried_state.gather().items():
            np.testing.assert_array_equal(value, before[name])
    try:
        make(mirrored, False, rows=3)
    except UserError as error:
        assert "3 rows of carried state on 2 replicas: expected as many rows on each" in str(error)
    else:
        raise AssertionError("three rows on two replicas")
"""


@pytest.mark.thorough
def test_two_replicas_carry_the_state_of_their_own_rows(tmp_path):
    """In a process of its own, since devices are made once."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_REPLICAS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
