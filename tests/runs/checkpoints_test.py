"""Every variable comes back; a damaged, half-written or unwritable checkpoint costs nothing that
was there.
"""

import errno
import json
import logging
import resource
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.optimizers.optimizers import make_optimizer
from tf_textgen.runs import checkpoints as checkpoints_module
from tf_textgen.runs.checkpoints import Checkpoints, by_path
from tf_textgen.runs.run_state import RunState


class Stack(keras.Model):
    """Layers in a list and in a dict, one frozen, with dropout: what `tf.train.Checkpoint(model=)`
    leaves out.
    """

    def __init__(self, width=3):
        super().__init__(name="stack")
        self.blocks = [keras.layers.Dense(width, name=f"block_{i}") for i in range(2)]
        self.heads = {"main": keras.layers.Dense(2, name="main")}
        self.frozen = keras.layers.Dense(3, trainable=False, name="frozen")
        self.noise = [keras.layers.Dropout(0.5, seed=i, name=f"noise_{i}") for i in range(2)]
        self.build()

    def build(self, input_shape=None):
        if not self.built:
            self.built = True
            self.call(tf.zeros([1, 3]))

    def call(self, x, training=False):
        for block, noise in zip(self.blocks, self.noise, strict=True):
            x = noise(block(x), training=training)
        return self.heads["main"](self.frozen(x))


def make(width=3, optimizer="adamw"):
    model = Stack(width)
    return model, make_optimizer(OptimizerConfig(name=optimizer), model.trainable_variables)


def values(*owners):
    return {
        path: v.numpy().copy() for owner in owners for path, v in by_path(owner.variables).items()
    }


def perturb(*owners):
    for owner in owners:
        for variable in owner.variables:
            variable.assign(np.asarray(variable) + np.asarray(7, np.asarray(variable).dtype))


@pytest.mark.parametrize("name", ["adamw", "adafactor", "sgd", "rmsprop"])
def test_every_variable_comes_back(tmp_path, name):
    model, optimizer = make(optimizer=name)
    perturb(model, optimizer)
    saved = values(model, optimizer)
    assert sum("seed" in path for path in saved) == 2
    Checkpoints(tmp_path).save(RunState(step=5, best_loss=1.5), model, optimizer)
    perturb(model, optimizer)
    state = Checkpoints(tmp_path).restore(5, model, optimizer)
    assert state == RunState(step=5, best_loss=1.5)
    for path, value in values(model, optimizer).items():
        np.testing.assert_array_equal(value, saved[path], err_msg=path)


def test_model_alone_is_restored_without_an_optimizer(tmp_path):
    model, optimizer = make()
    Checkpoints(tmp_path).save(RunState(step=1), model, optimizer)
    other = Stack()
    perturb(other)
    Checkpoints(tmp_path).restore(1, other)
    for path, value in values(other).items():
        np.testing.assert_array_equal(value, values(model)[path], err_msg=path)


def test_two_variables_with_one_path_are_an_error():
    twins = [keras.Variable(0.0, name="twin") for _ in range(2)]
    with pytest.raises(UserError, match="two variables have the path 'twin'"):
        by_path(twins)


def test_keeps_the_newest_and_the_best(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 6):
        checkpoints.save(RunState(step=step), model, optimizer)
        if step == 2:
            checkpoints.mark_best(2, 0.5)
    assert checkpoints.steps() == [2, 4, 5]
    assert (checkpoints.find("best"), checkpoints.find("last"), checkpoints.find("4")) == (2, 5, 4)
    checkpoints.mark_best(5, 0.4)
    assert checkpoints.steps() == [4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.json",
        "step-00000004",
        "step-00000005",
    ]


def test_half_removed_checkpoints_are_not_seen(tmp_path, monkeypatch):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path, keep=1)
    with monkeypatch.context() as patch:
        patch.setattr(
            shutil,
            "rmtree",
            lambda folder, ignore_errors: (folder / "state.json").unlink(missing_ok=True),
        )
        for step in (1, 2):
            checkpoints.save(RunState(step=step), model, optimizer)
    assert checkpoints.steps() == [2] and len([*tmp_path.iterdir()]) == 2
    assert checkpoints.newest_to_go_on() == 2 and len([*tmp_path.iterdir()]) == 1


def test_best_is_the_newest_before_the_first_validation(tmp_path):
    model, optimizer = make()
    Checkpoints(tmp_path).save(RunState(step=3), model, optimizer)
    assert Checkpoints(tmp_path).find("best") == 3


def damage_content(folder):
    data = bytearray((folder / "model.data-00000-of-00001").read_bytes())
    data[7] ^= 1
    (folder / "model.data-00000-of-00001").write_bytes(data)


def damage_length(folder):
    (folder / "optimizer.index").write_bytes(b"")


def damage_state(folder):
    (folder / "state.json").unlink()


def damage_manifest(folder):
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    "damage, said",
    [
        (damage_content, "another content"),
        (damage_length, "0 bytes instead of"),
        (damage_state, "state.json is missing"),
        (damage_manifest, "manifest.json"),
    ],
)
def test_a_damaged_newest_falls_back_and_says_so(tmp_path, caplog, damage, said):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(RunState(step=step), model, optimizer)
    checkpoints.mark_best(2, 1.0)
    damage(checkpoints.folder(2))
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest_whole() == 1
        assert checkpoints.find("best") == 1
    assert "step 2 is damaged" in caplog.text and said in caplog.text
    with pytest.raises(UserError, match=r"step 2 is damaged .*choose another step"):
        checkpoints.find(2)
    checkpoints.save(RunState(step=2), model, optimizer)
    assert checkpoints.newest_whole() == 2


def test_all_damaged_means_none(tmp_path):
    model, optimizer = make()
    Checkpoints(tmp_path).save(RunState(step=1), model, optimizer)
    damage_content(Checkpoints(tmp_path).folder(1))
    assert Checkpoints(tmp_path).newest_whole() is None


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_full_disk_loses_nothing(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=1), model, optimizer)
    before, limits = tree(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"cannot save the checkpoint of step 2 in .*make room"
        ) as caught:
            checkpoints.save(RunState(step=2), model, optimizer)
        with pytest.raises(UserError, match="cannot save the checkpoint of step 1 in"):
            checkpoints.save(RunState(step=1), model, optimizer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value) and "step 1 is kept" in str(caught.value)
    assert tree(tmp_path) == before and checkpoints.newest_whole() == 1


@pytest.mark.parametrize("file", ["state.json", "manifest.json", "best.json"])
def test_no_space_for_the_small_files(tmp_path, monkeypatch, file):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=1), model, optimizer)
    checkpoints.mark_best(1, 2.0)
    before, write = tree(tmp_path), checkpoints_module.atomic_files.write_json

    def full(path, value):
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, value)

    monkeypatch.setattr(checkpoints_module.atomic_files, "write_json", full)
    with pytest.raises(UserError, match=r"step 2 in .*No space left on device"):
        if file == "best.json":
            checkpoints.mark_best(2, 1.0)
        checkpoints.save(RunState(step=2), model, optimizer)
    assert tree(tmp_path) == before


def test_another_model_is_refused_by_the_first_difference(tmp_path):
    model, optimizer = make()
    Checkpoints(tmp_path).save(RunState(step=1), model, optimizer)
    before = values(wider := Stack(4))
    with pytest.raises(
        UserError, match=r"does not fit this model: stack/block_0/kernel is \[\[3, 3\], 'float32'\]"
    ):
        Checkpoints(tmp_path).restore(1, wider)
    for path, value in values(wider).items():
        np.testing.assert_array_equal(value, before[path])


def test_missing_checkpoints_are_named(tmp_path):
    with pytest.raises(UserError, match="no checkpoint there, expected one; train first"):
        Checkpoints(tmp_path).find("last")
    model, optimizer = make()
    Checkpoints(tmp_path).save(RunState(step=4), model, optimizer)
    with pytest.raises(
        UserError, match=r"checkpoint '7': expected best, last or one of the steps 4"
    ):
        Checkpoints(tmp_path).find("7")


def test_what_a_killed_save_leaves_is_not_a_checkpoint(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=1), model, optimizer)
    shutil.copytree(checkpoints.folder(1), tmp_path / ".step-00000002.abc")
    assert checkpoints.steps() == [1] and checkpoints.newest_whole() == 1
    assert json.loads((checkpoints.folder(1) / "state.json").read_text())["step"] == 1


def test_what_a_killed_save_left_is_removed_when_the_run_goes_on(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=3), model, optimizer)
    for name in (".step-00000005.x1y2", ".step-00000003.x1y2.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.index").write_text("half")
    (tmp_path / ".best.json.x1y2").write_text("{")
    assert checkpoints.newest_to_go_on() == 3
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_a_checkpoint_that_a_killed_save_was_about_to_replace_comes_back(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    for step in (2, 3):
        checkpoints.save(RunState(step=step), model, optimizer)
    checkpoints.folder(3).rename(tmp_path / ".step-00000003.x1y2.old")
    assert checkpoints.newest_to_go_on() == 3


def truncate(folder):
    for path in folder.glob("model.data*"):
        path.write_bytes(path.read_bytes()[:-1])


def test_damaged_newer_checkpoints_do_not_push_out_those_to_come(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (3, 210, 211):
        checkpoints.save(RunState(step=step), model, optimizer)
        checkpoints.keep = 3
    for step in (210, 211):
        truncate(checkpoints.folder(step))
    checkpoints.keep = 2
    assert checkpoints.newest_to_go_on() == 3
    checkpoints.save(RunState(step=55), model, optimizer)
    assert checkpoints.steps() == [3, 55] and checkpoints.newest_whole() == 55
    assert {path.name for path in tmp_path.glob("damaged-*")} == {
        "damaged-step-00000210",
        "damaged-step-00000211",
    }


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        *(
            lambda folder, text=text: (folder / "manifest.json").write_text(text)
            for text in ('{"files": {}}', '{"files": [1], "variables": {"model": {}}}')
        ),
    ],
)
def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path, damage):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=3), model, optimizer)
    damage(checkpoints.folder(3))
    for use in (
        checkpoints.newest_to_go_on,
        lambda: checkpoints.find("best"),
        lambda: checkpoints.find("last"),
    ):
        with pytest.raises(
            UserError, match=r"all checkpoints \(of steps 3\) are damaged, expected a whole one"
        ):
            use()
    assert checkpoints.steps() == [3]


def test_a_best_step_that_is_no_number_is_none(tmp_path):
    model, optimizer = make()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(RunState(step=3), model, optimizer)
    (tmp_path / "best.json").write_text('{"step": "x"}')
    assert checkpoints.find("best") == 3
    with pytest.raises(
        UserError, match="checkpoint '²': expected best, last or one of the steps 3"
    ):
        checkpoints.find("²")
