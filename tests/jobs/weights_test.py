"""A run that keeps a moving average of its weights, from training to the jobs that use either of
the two.
"""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.jobs import main
from tf_textgen.runs.run_folder import load_run

TEXT = "".join(f"line {i} of {i * i} says the quick brown fox\n\n" for i in range(60))
TABLE = "rnn_lm/embedding/table"


def command(run, *more):
    flags = [
        f"--data.train={run.parent / 'text.txt'}",
        f"--data.cache_dir={run.parent}",
        f"--run.dir={run}",
    ]
    flags += [
        "--model=rnn_lm",
        "--rnn_lm.width=8",
        "--rnn_lm.num_layers=1",
        "--tokenizer.kind=bytes",
        "--run.xla=off",
    ]
    flags += [
        "--data.context=16",
        "--data.batch_size=4",
        "--run.samples=0",
        "--optimizer.learning_rate=0.05",
    ]
    flags += [
        "--run.steps=6",
        "--run.validate_every=2",
        "--run.checkpoint_every=2",
        "--run.keep_checkpoints=9",
    ]
    return ["train", *flags, "--optimizer.ema_decay=0.9", *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("average") / "run"
    (path.parent / "text.txt").write_text(TEXT)
    assert main(command(path)) == 0
    return path


def saved(run, step, part):
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / f"step-{step:08d}" / part))
    return reader.get_tensor(TABLE.replace("/", ".S") + "/.ATTRIBUTES/VARIABLE_VALUE")


def table(loaded):
    (variable,) = [v for v in loaded.model.variables if v.path == TABLE]
    return np.asarray(variable)


def test_the_record_tells_of_it_and_validates_it(run, job):
    record = json.loads((run / "run.json").read_text())
    assert record["ema_decay"] == 0.9
    found = {}
    for flags in ((), ("--run.weights=average",), ("--run.weights=trained",)):
        code, lines, errors = job("evaluate", f"--run.dir={run}", "--json", *flags)
        assert code == 0 and not errors
        found[flags] = json.loads(lines[-1])["nats_per_token"]
    first, second, trained = found.values()
    assert first == second == pytest.approx(record["validation.nats_per_token"], rel=1e-6)
    assert abs(trained - first) > 1e-4


def test_weights_are_chosen_by_flag(run, job, tmp_path):
    for weights, part in ((None, "average"), ("trained", "model"), ("average", "average")):
        loaded = load_run(run, 6, weights)
        assert loaded.weights == {"average": "average", "model": "trained"}[part]
        np.testing.assert_array_equal(table(loaded), saved(run, 6, part))
    assert not np.array_equal(saved(run, 6, "average"), saved(run, 6, "model"))


def test_the_mean_is_of_the_trained_weights_and_has_no_averages(run, job, tmp_path):
    output = tmp_path / "mean"
    code, lines, _ = job("average", f"--run.dir={run}", "--last=3", f"--output={output}")
    assert code == 0 and lines[1].strip() == "of the trained weights, not of their moving averages"
    loaded = load_run(output)
    assert loaded.weights == "trained"
    expected = np.mean([saved(run, step, "model").astype(np.float64) for step in (2, 4, 6)], axis=0)
    np.testing.assert_array_equal(table(loaded), expected.astype(np.float32))
    code, _, errors = job("score", f"--run.dir={output}", "--run.weights=average", "--text=a")
    assert code == 2 and len(errors) == 1
    assert (
        "--run.weights=average: " in errors[0]
        and "has no moving averages, expected a run trained with" in errors[0]
    )


def test_it_is_told_and_goes_on_with_the_same_decay_alone(run, job, tmp_path):
    shutil.copytree(run.parent, tmp_path / "copy")
    again = tmp_path / "copy" / "run"
    code, lines, _ = job(*command(again))
    said = (
        "moving average of the weights, decay 0.9: validated, sampled and exported instead of the "
        "trained weights"
    )
    assert code == 0 and said in lines and "continuing from step 6" in lines
    code, _, errors = job(*command(again, "--optimizer.ema_decay=0.99"))
    assert code == 2 and "optimizer.ema_decay is 0.9 there, 0.99 here" in errors[0]
    code, _, errors = job(*command(again, "--optimizer.ema_decay=1"))
    assert (
        code == 2
        and "--optimizer.ema_decay=1: expected a value at least 0 and below 1" in errors[0]
    )


def test_describe_counts_its_memory(run, job):
    _, lines, _ = job("describe", f"--run.dir={run}", "--json")
    memory = json.loads(lines[-1])["training_memory"]
    assert memory["moving average"] == memory["gradients"]
    assert memory["total, about"] == sum(
        size for part, size in memory.items() if not part.startswith("total")
    )
    _, lines, _ = job("describe", f"--run.dir={run}", "--json", "--optimizer.ema_decay=0")
    assert "moving average" not in json.loads(lines[-1])["training_memory"]
