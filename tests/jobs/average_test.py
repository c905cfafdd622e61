"""`average` from the command line, against NumPy's mean of what the checkpoints hold."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.jobs import main
from tf_textgen.runs import averaging
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.run_folder import load_run
from tf_textgen.runs.run_state import RunState

STEPS = (3, 5, 8)


@pytest.fixture(scope="module")
def model(dialogue_run):
    return load_run(dialogue_run).model


@pytest.fixture(scope="module")
def run(dialogue_run, model, tmp_path_factory):
    """A run with two vocabularies, four checkpoints of other weights each, and one damaged between
    them.
    """
    path = tmp_path_factory.mktemp("average") / "run"
    shutil.copytree(dialogue_run, path)
    checkpoints, rng = Checkpoints(path / "checkpoints", 9), np.random.default_rng(1)
    for step in (*STEPS, 6):
        for variable in model.variables:
            values = np.asarray(variable)
            drawn = (
                rng.normal(size=values.shape)
                if values.dtype == np.float32
                else rng.integers(0, 99, values.shape)
            )
            variable.assign(drawn.astype(values.dtype))
        checkpoints.save(
            RunState(step=step, total_steps=8, best_step=2, best_loss=0.1, tokens=10 * step), model
        )
    (checkpoints.folder(6) / "state.json").write_text("")
    return path


@pytest.fixture(scope="module")
def averaged(run):
    path = run.parent / "deeper" / "averaged"
    assert main(["average", f"--run.dir={run}", "--last=3", f"--output={path}"]) == 0
    return path


def weights(run, step):
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / f"step-{step:08d}" / "model"))
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if "OBJECT_GRAPH" not in key
    }


def test_weights_are_the_mean_and_seeds_the_newest(run, averaged):
    found, theirs = weights(averaged, 8), [weights(run, step) for step in STEPS]
    assert found.keys() == theirs[0].keys()
    floats = [key for key, value in found.items() if value.dtype == np.float32]
    assert len(floats) > 5 and len(floats) < len(found)
    for key, value in found.items():
        expected = theirs[-1][key]
        if key in floats:
            expected = np.mean([each[key].astype(np.float64) for each in theirs], axis=0).astype(
                np.float32
            )
        np.testing.assert_array_equal(value, expected, err_msg=key)


def test_the_folder_is_a_run(run, averaged, job):
    names = {path.name for path in averaged.iterdir()}
    assert names == {
        "checkpoints",
        "config.json",
        "recipe.flags",
        "run.json",
        "source_tokenizer",
        "tokenizer",
    }
    assert [path.name for path in averaged.parent.iterdir()] == ["averaged"]
    loaded, original = load_run(averaged), load_run(run, 8)
    assert loaded.step == 8 and not (averaged / "checkpoints" / "best.json").exists()
    assert loaded.tokenizer.fingerprint == original.tokenizer.fingerprint
    assert loaded.source_tokenizer.fingerprint == original.source_tokenizer.fingerprint
    code, lines, errors = job("evaluate", f"--run.dir={averaged}", "--json")
    assert code == 0 and not errors and json.loads(lines[-1])["tokens"] > 0


def test_the_folder_tells_what_it_is(run, averaged):
    about = {"averaged_run": str(run), "averaged_steps": list(STEPS)}
    record, config, before = (
        json.loads((path / name).read_text())
        for path, name in ((averaged, "run.json"), (averaged, "config.json"), (run, "config.json"))
    )
    assert {name: record[name] for name in about} == about
    assert record["model"] == "rnn_seq2seq" and record["steps"] == 8 and record["tokens"] == 80
    assert (
        record["command"]
        == f"python -m tf_textgen average --run.dir={run} --last=3 --output={averaged}"
    )
    assert config == {
        **before,
        "run": {**before["run"], "dir": str(averaged)},
        **about,
        "kind": "average",
    }
    heading, hint, *flags = (averaged / "recipe.flags").read_text().splitlines()
    assert heading == f"# The mean of the checkpoints of steps 3, 5, 8 of {run}, made by average."
    assert hint.startswith("# ")
    theirs = (run / "recipe.flags").read_text().splitlines()[1:]
    assert [flag for flag in flags if "--run.dir" not in flag] == [
        flag for flag in theirs if "--run.dir" not in flag
    ]
    assert f"--run.dir={averaged}" in flags


def test_it_says_what_it_did_and_what_comes_next(run, job, tmp_path):
    output = tmp_path / "mean of two"
    code, lines, errors = job("average", f"--run.dir={run}", "--last=2", f"--output={output}")
    assert code == 0 and not errors
    assert lines[0] == f"{output}: the mean of the weights of {run} at the steps 5, 8"
    assert lines[1:3] == ["next:", f"  python -m tf_textgen evaluate --run.dir='{output}'"]


def test_training_does_not_go_on_in_it(averaged, job):
    code, _, errors = job("train", f"--flagfile={averaged / 'recipe.flags'}")
    assert (
        code == 2
        and len(errors) == 1
        and f"--run.dir={averaged} holds the mean of checkpoints of" in errors[0]
    )
    assert (
        "expected a run that train made; continue with that one or choose another --run.dir"
        in errors[0]
    )


def test_damaged_checkpoints_do_not_count_and_are_told(run, job, tmp_path, caplog):
    code, _, errors = job("average", f"--run.dir={run}", f"--output={tmp_path / 'new'}")
    assert code == 2 and errors[-1].startswith("error: --last=5: ") and not list(tmp_path.iterdir())
    said = (
        "has 4 whole checkpoints (of steps 2, 3, 5, 8), expected at least 5; ask for fewer, or "
        "train with --run.keep"
    )
    assert said in errors[-1]
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("checkpoint of step 6 is damaged (state.json has 0 bytes instead of ")


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--run.dir={run}", "--last=1", "--output={new}"], "--last=1: 1 is not integer >= 2"),
        (["--run.dir={run}"], "--output is missing: expected the run folder to create"),
        (["--output={new}"], "--run.dir is missing: expected the folder of a run"),
        (["--run.dir={new}", "--output={new}"], "is no run folder"),
        (
            ["--run.dir={run}", "--output={averaged}"],
            "averaged exists: expected a new folder; choose another name or remove",
        ),
        (
            ["--run.dir={run}", "--output={run}/../run/new"],
            "is inside the run that is averaged: expected a folder outs",
        ),
        (
            ["--run.dir={run}", "--output={averaged}/checkpoints/new"],
            "checkpoints/new: this file belongs to the run; choose another name",
        ),
        (
            ["--run.dir={averaged}", "--output={new}"],
            "is already a mean of checkpoints: expected a run that train wro",
        ),
    ],
)
def test_bad_input_is_one_line(flags, said, run, averaged, job, tmp_path):
    places = {"run": run, "averaged": averaged, "new": tmp_path / "new"}
    code, _, errors = job("average", *(flag.format(**places) for flag in flags))
    assert code == 2 and len(errors) == 1 and said in errors[0]
    assert not list(tmp_path.iterdir())


def test_an_export_writes_nothing_into_a_run(run, averaged, job):
    for folder in (run / "checkpoints", averaged / "tokenizer" / "x"):
        code, _, errors = job("export", f"--run.dir={run}", f"--export.dir={folder}")
        assert code == 2 and errors == [
            f"error: --export.dir={folder}: this file belongs to the run; choose another name"
        ]


def test_counts_have_no_mean(run, tmp_path, job):
    config = json.loads((run / "config.json").read_text())
    counted = {"model": "ngram", "model_config": {"vocabulary_size": 9}, "kind": "counted"}
    (tmp_path / "config.json").write_text(json.dumps({**config, **counted}))
    code, _, errors = job("average", f"--run.dir={tmp_path}", f"--output={tmp_path / 'new'}")
    assert (
        code == 2
        and "holds counts (--model=ngram) in one checkpoint: expected a model trained" in errors[0]
    )


def test_a_checkpoint_that_training_removed_meanwhile_is_told(run, model):
    with pytest.raises(
        UserError,
        match=r"step-00000004 cannot be read any more \(No such file or directory\): expec",
    ):
        averaging.restore_mean(Checkpoints(run / "checkpoints"), (3, 4), model)


def test_nothing_is_left_where_it_fails(run, tmp_path, monkeypatch, job):
    def full(*unused):
        raise OSError(28, "No space left on device", "run.json")

    monkeypatch.setattr(averaging, "describe_origin", full)
    code, _, errors = job("average", f"--run.dir={run}", "--last=2", f"--output={tmp_path / 'new'}")
    assert (
        code == 2
        and "run.json: no space left on device" in errors[0]
        and not list(tmp_path.iterdir())
    )
