"""Whole fits of a tiny model: callbacks by global step, and exact resumption."""

import functools
import io
import json
import math
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event

from tests.training.tiny import batches, make_tiny, token_loss
from tf_textgen.distribution.workers import Workers
from tf_textgen.errors import UserError
from tf_textgen.runs.checkpoints import Checkpoints, by_path
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_folder import RunFolder
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.fitting import TrainingData, fit, restore_newest
from tf_textgen.training.step_budget import plan_steps
from tf_textgen.training.validation import SaveCheckpoints

VALIDATION = 3


def options(**changes):
    common = {"validate_every": 3, "checkpoint_every": 2, "log_every": 2, "keep_checkpoints": 9}
    return RunConfig(**{**common, **changes})


@functools.cache
def traced_model():
    """One model for all runs, since tracing takes a second; and its initial variables."""
    model = make_tiny()
    return model, weights(model)


def new_model():
    model, initial = traced_model()
    for owner in (model, model.optimizer):
        for name, variable in by_path(owner.variables).items():
            variable.assign(initial[name])
    model.optimizer.schedule.total_steps = 77
    return model


def train(path, config, model=None, sampler=None, validation=True, batches_from=batches):
    """Goes on with the run in `path` as `training.run_training` does."""
    model = model or new_model()
    checkpoints = Checkpoints(path / "checkpoints", config.keep_checkpoints)
    with RunFolder(path) as folder:
        folder.write_recipe([])
        state = restore_newest(checkpoints, model, Workers())
        data = TrainingData(
            batches_from(state.step),
            5,
            2.0,
            batches(100, VALIDATION) if validation else None,
            VALIDATION if validation else 0,
            2.0 if validation else None,
        )
        output = io.StringIO()
        result = fit(
            model,
            data,
            config,
            folder,
            checkpoints,
            state,
            Workers(),
            sampler=sampler,
            output=output,
        )
    return model, state, result, output.getvalue()


def weights(model):
    return {
        p: v.numpy()
        for owner in (model, model.optimizer)
        for p, v in by_path(owner.variables).items()
    }


def assert_bitwise_equal(one, other):
    assert one.keys() == other.keys()
    for path, value in one.items():
        np.testing.assert_array_equal(value, other[path], err_msg=path)


def scalars(path):
    """tag -> step -> value of everything in a folder of TensorBoard files."""
    found = {}
    for file in sorted(path.glob("events*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 8 steps without interruption: its folder, last weights, state and output."""
    path = tmp_path_factory.mktemp("whole")
    model, state, result, output = train(
        path, options(steps=8), sampler=lambda step: f"at {step}\n中文"
    )
    assert result.signal is None and result.last.step == 8
    return path, weights(model), state, output


def test_steps_validations_and_checkpoints_come_by_global_step(whole):
    path, last, state, output = whole
    assert (state.step, state.total_steps, last["optimizer/iteration"]) == (8, 8, 8)
    training, validation = (scalars(path / "logs" / name) for name in ("train", "validation"))
    checkpoints = Checkpoints(path / "checkpoints")
    assert sorted(training["metrics/loss"]) == [2, 3, 4, 6, 8]
    assert sorted(validation["metrics/loss"]) == sorted(validation["samples"]) == [3, 6, 8]
    assert {2, 4, 6, 8} <= set(checkpoints.steps()) and checkpoints.best_step() == state.best_step
    assert "step 8/8" in output and "step 3: validation" in output


def test_samples_are_written_at_every_validation(whole):
    text = (whole[0] / "samples.txt").read_text(encoding="utf-8")
    assert text == "".join(f"=== step {step} ===\nat {step}\n中文\n\n" for step in (3, 6, 8))


def test_validation_is_the_mean_over_tokens(whole):
    path, last, _, _ = whole
    expected, _ = token_loss(last, range(100, 100 + VALIDATION))
    logged = {
        tag: values[8]
        for tag, values in scalars(path / "logs" / "validation").items()
        if 8 in values
    }
    assert logged["metrics/loss"] == pytest.approx(expected, rel=1e-5)
    assert logged["metrics/perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert logged["metrics/bits_per_byte"] == pytest.approx(expected / math.log(2) / 2.0, rel=1e-5)


def test_training_loss_is_of_the_last_interval_weighted_by_tokens(tmp_path):
    """With a learning rate of next to nothing and no dropout, the loss is that of the initial
    weights.
    """
    model = make_tiny(learning_rate=1e-12, dropout=0.0)
    expected = {step: token_loss(weights(model), range(step - 2, step)) for step in (2, 4)}
    _, state, _, _ = train(
        tmp_path, options(steps=4, validate_every=100), model=model, validation=False
    )
    logged = scalars(tmp_path / "logs" / "train")
    for step, (loss, _) in expected.items():
        assert logged["metrics/loss"][step] == pytest.approx(loss, rel=1e-5)
        assert logged["metrics/perplexity"][step] == pytest.approx(math.exp(loss), rel=1e-5)
        assert logged["metrics/bits_per_byte"][step] == pytest.approx(
            loss / math.log(2) / 2.0, rel=1e-5
        )
    assert state.tokens == sum(count for _, count in expected.values())


def test_learning_rate_shown_is_the_one_used(tmp_path):
    _, _, _, _ = train(tmp_path, options(steps=4, log_every=1), validation=False)
    shown = scalars(tmp_path / "logs" / "train")["training/learning_rate"]
    np.testing.assert_allclose(
        [shown[s] for s in (1, 2, 3, 4)], [0.025, 0.05, 0.05 * (1 - 0.9 / 2), 0.05 * 0.1], rtol=1e-5
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_and_resumed_equals_uninterrupted_bitwise(tmp_path, whole, number):
    sampler = lambda step: os.kill(os.getpid(), number) if step == 3 else None  # noqa: E731
    handler = signal.getsignal(
        signal.SIGINT
    )  # Python's own, or ignored if a shell started this in the background
    _, state, result, output = train(tmp_path, options(steps=8), sampler=sampler)
    assert (state.step, result.signal) == (
        3,
        number,
    ) and "the same command again continues" in output
    assert signal.getsignal(signal.SIGINT) is handler
    resumed, state, _, _ = train(tmp_path, options(steps=8))
    assert_bitwise_equal(weights(resumed), whole[1])
    counted = ("step", "tokens", "best_step", "best_loss", "validations_since_best")
    assert [getattr(state, name) for name in counted] == [
        getattr(whole[2], name) for name in counted
    ]


def test_resumed_equals_uninterrupted_bitwise_under_xla(tmp_path):
    config, model = (
        options(steps=4, checkpoint_every=2, validate_every=100),
        make_tiny(jit_compile=True),
    )
    initial = weights(model)
    expected = weights(train(tmp_path, config, model=model)[0])
    shutil.rmtree(Checkpoints(tmp_path / "checkpoints").folder(4))
    for owner in (model, model.optimizer):
        for name, variable in by_path(owner.variables).items():
            variable.assign(initial[name])
    assert_bitwise_equal(weights(train(tmp_path, config, model=model)[0]), expected)


def test_crash_between_checkpoints_and_damage_cost_steps_only(tmp_path, whole):
    def crash(step):
        if step == 6:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, options(steps=8), sampler=crash)
    (Checkpoints(tmp_path / "checkpoints").folder(6) / "state.json").write_text("")
    resumed, _, _, _ = train(tmp_path, options(steps=8))
    assert_bitwise_equal(weights(resumed), whole[1])


def test_killed_before_the_best_is_marked_a_run_has_it_and_its_validation(
    tmp_path, whole, monkeypatch
):
    original = Checkpoints.mark_best

    def killed(self, step, loss):
        if step == 8:
            raise RuntimeError("killed")
        original(self, step, loss)

    assert whole[2].best_step == 8  # nothing is saved or validated after it
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(Checkpoints, "mark_best", killed)
        train(tmp_path, options(steps=8))
    train(tmp_path, options(steps=8))
    best = [
        json.loads((path / "checkpoints" / "best.json").read_text())
        for path in (tmp_path, whole[0])
    ]
    assert best[0] == best[1] == {"step": 8, "loss": whole[2].best_loss}
    shown = [scalars(path / "logs" / "validation")["metrics/loss"] for path in (tmp_path, whole[0])]
    assert shown[0] == shown[1]


def test_a_finished_run_has_nothing_to_do_unless_its_budget_grows(tmp_path, whole):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    model, state, result, _ = train(tmp_path, options(steps=8))
    assert result.last is None and state.step == 8
    assert_bitwise_equal(weights(model), whole[1])
    _, state, _, _ = train(tmp_path, options(epochs=1.8), model=model)
    assert state.step == 9 == int(model.optimizer.iterations)


def test_early_stopping_counts_validations(tmp_path):
    model = make_tiny(learning_rate=1e-12, dropout=0.0)
    config = options(steps=50, early_stopping_validations=2)
    _, state, _, output = train(tmp_path, config, model=model)
    assert state.early_stopped and state.validations_since_best == 2
    assert "no improvement in 2 validations" in output
    stopped_at = state.step
    _, state, result, _ = train(tmp_path, config, model=model)
    assert result.last is None and state.step == stopped_at
    _, state, _, _ = train(
        tmp_path, options(steps=stopped_at + 1, early_stopping_validations=9), model=model
    )
    assert state.step == stopped_at + 1


def test_a_loss_that_is_no_number_names_step_and_last_good_checkpoint(tmp_path):
    def spoiled(start_step):
        good = batches(start_step).enumerate(start_step)

        def bad(step, data):
            weights = tf.where(step == 4, data[2] * float("inf"), data[2])
            return data[0], data[1], weights

        return good.map(bad)

    with pytest.raises(UserError) as caught:
        train(
            tmp_path,
            options(steps=20, log_every=10, checkpoint_every=2, validate_every=100),
            batches_from=spoiled,
        )
    message = str(caught.value)
    assert (
        "at step 5, expected a number; the last good checkpoint is of step 4" in message
        and "\n" not in message
    )
    assert Checkpoints(tmp_path / "checkpoints").steps() == [2, 4]


def test_an_update_after_which_the_loss_is_no_number_is_not_saved(tmp_path):
    model = make_tiny(learning_rate=3e38, dropout=0.0, schedule="constant")
    said = "validation loss is nan at step 1, expected a number; no checkpoint was saved before"
    with pytest.raises(UserError, match=said):
        train(tmp_path, options(steps=1, log_every=100), model=model)
    assert Checkpoints(tmp_path / "checkpoints").steps() == []


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    model, checkpoints = new_model(), Checkpoints(tmp_path)
    saver = SaveCheckpoints(RunState(step=3), checkpoints, SimpleNamespace(measure=lambda: None), 1)
    saver.set_model(model)
    model.trainable_variables[0].assign(model.trainable_variables[0] * float("inf"))
    with pytest.raises(UserError, match="tiny/embedding/embeddings holds inf or nan after step 3"):
        saver.save()
    assert checkpoints.steps() == []


def test_a_full_disk_for_logs_is_one_line(tmp_path):
    (tmp_path / "logs").write_text("not a folder")
    with pytest.raises(
        UserError, match=r"cannot write .*logs \(.*\): expected room and write access"
    ) as caught:
        train(tmp_path, options(steps=2))
    assert "\n" not in str(caught.value)


def test_minutes_become_steps_once(tmp_path):
    _, state, _, output = train(
        tmp_path, options(minutes=0.03, checkpoint_every=1000, validate_every=1000)
    )
    assert state.finished and state.total_steps == state.steps_for_minutes == state.step > 3
    assert state.seconds < 20 and "the budget of 0.03 minutes ends at step" in output
    saved = json.loads(
        (Checkpoints(tmp_path / "checkpoints").folder(state.step) / "state.json").read_text()
    )
    assert saved["steps_for_minutes"] == state.step and saved["seconds_per_step"] > 0
    _, again, result, _ = train(tmp_path, options(minutes=0.03))
    assert result.last is None and again.step == state.step


def test_a_budget_of_next_to_nothing_ends_validated_and_saved(tmp_path):
    _, state, _, _ = train(tmp_path, options(minutes=1e-4))
    assert state.finished and state.best_step == state.step > 3
    _, again, result, _ = train(tmp_path, options(minutes=1e-4))
    assert result.last is None and again == state


def test_the_first_of_two_budgets_ends(tmp_path):
    assert train(tmp_path, options(minutes=5.0, steps=4))[1].step == 4


def test_minutes_timed_before_are_not_timed_again(tmp_path):
    model = new_model()
    with RunFolder(tmp_path) as folder:
        folder.write_recipe([])
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state = RunState(step=2, minutes=1.0, steps_for_minutes=6, seconds_per_step=10.0, seconds=20.0)
    checkpoints.save(state, model, model.optimizer)
    assert train(tmp_path, options(minutes=1.0))[1].step == 6
    before = RunState(step=6, seconds=20.0, seconds_per_step=10.0, minutes=1.0, steps_for_minutes=6)
    assert plan_steps(options(minutes=2.0), 5, before) == 6 + 10


def test_metrics_are_not_read_between_measurements(tmp_path, monkeypatch):
    """A conversion to a Python number waits for the device."""
    from tf_textgen.training import step_metrics as meter_module

    reads, state = [], {}
    original = meter_module.Meter.on_train_batch_end

    def watched(self, batch, logs=None):
        state["logs"] = logs
        assert all(isinstance(value, tf.Tensor) for value in logs.values())
        original(self, batch, logs)
        reads.append(self.last.step if self.last else 0)

    monkeypatch.setattr(meter_module.Meter, "on_train_batch_end", watched)
    train(
        tmp_path,
        options(steps=7, log_every=3, checkpoint_every=100, validate_every=100),
        validation=False,
    )
    assert reads == [0, 0, 3, 3, 3, 6, 6]
