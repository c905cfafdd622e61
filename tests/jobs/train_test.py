"""`train` from the command line: runs that others can read, exact resumption, bad input."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dataset import evaluation_batches, open_corpus
from tf_textgen.jobs import main
from tf_textgen.training import samples
from tf_textgen.training.checkpoints import Checkpoints
from tf_textgen.training.run_folder import load_run

TEXT = "".join(f"line {i} of {i * i} says the quick brown fox\n\n" for i in range(60))
MODEL = ["num_layers=1", "num_heads=2", "width=8", "max_positions=16", "dropout=0.2"]
COMMON = [
    "--data.context=16",
    "--data.batch_size=4",
    "--run.steps=6",
    "--run.validate_every=4",
    "--run.log_every=1",
    "--run.xla=off",
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text(TEXT)
    return path


def arguments(text, run, *more):
    flags = [f"--data.train={text}", f"--data.cache_dir={text.parent / 'cache'}", f"--run.dir={run}", *COMMON]
    flags += [f"--transformer_lm.{field}" for field in MODEL]
    return ["train", *flags, "--run.xla=off", "--tokenizer.kind=characters", "--run.sample_tokens=5", *more]


@pytest.fixture(scope="module")
def finished(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert main(arguments(text, path)) == 0
    return path


def variables(run, step=6):
    folder = Checkpoints(run / "checkpoints").folder(step)
    readers = [tf.train.load_checkpoint(str(folder / part)) for part in ("model", "optimizer")]
    return {key: r.get_tensor(key) for r in readers for key in r.get_variable_to_shape_map() if "OBJECT" not in key}


def assert_same_weights(one, other):
    one, other = variables(one), variables(other)
    assert one.keys() == other.keys() and any("seed" in key for key in one)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_the_run_folder_tells_all(finished, text):
    names = {path.name for path in finished.iterdir()}
    files = {"lock", "recipe.flags", "config.json", "run.json", "samples.txt", "tokenizer", "checkpoints", "logs"}
    assert names == files
    config, record = (json.loads((finished / name).read_text()) for name in ("config.json", "run.json"))
    assert config["model"] == "transformer_lm" and config["model_config"]["width"] == 8
    assert config["data"]["train"] == [str(text)] and config["run"]["steps"] == 6
    assert record["steps"] == 6 and record["validation.nats_per_token"] > 0 and record["tokens_per_second"] > 0
    assert record["validation.bits_per_byte"] > 0 and record["train.nats_per_token"] > 0
    assert record["parameters"] > 0 and record["device"] and ("commit" in record or "version" in record)
    assert record["command"].startswith("python -m tf_textgen train --model=transformer_lm")
    assert (finished / "samples.txt").read_text().count("=== step") == 2


def test_a_run_is_loaded_with_what_was_validated(finished):
    record = json.loads((finished / "run.json").read_text())
    run = load_run(finished)
    assert (
        run.step == record["best_step"]
        and run.tokenizer.vocabulary_size == run.config["model_config"]["vocabulary_size"]
    )

    data = DataConfig.from_json(run.config["data"])
    total = count = 0.0
    for features, labels, weights in evaluation_batches(open_corpus(data, run.tokenizer)["valid"], data):
        logits = run.model(features).numpy().astype("float64")
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.take_along_axis(logits, labels.numpy()[..., None], -1)[..., 0]
        total, count = total - (chosen * weights.numpy()).sum(), count + weights.numpy().sum()
    assert record["validation.nats_per_token"] == pytest.approx(total / count, rel=1e-5)
    assert record["validation.tokens"] == count
    assert load_run(finished, "last").step == 6


def test_the_recipe_of_a_run_gives_the_same_run(finished, tmp_path):
    recipe = finished / "recipe.flags"
    assert main(["train", f"--flagfile={recipe}", f"--run.dir={tmp_path / 'again'}", "--run.samples=0"]) == 0
    assert_same_weights(finished, tmp_path / "again")


def test_interrupted_and_resumed_equals_uninterrupted(finished, text, tmp_path, monkeypatch, capsys):
    def interrupt(*unused):
        return lambda step: os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(samples, "make_sampler", interrupt)
        assert main(arguments(text, tmp_path / "run")) == 143
    assert not (tmp_path / "run" / "run.json").exists()
    assert main(arguments(text, tmp_path / "run", "--run.samples=0")) == 0
    assert "going on from step 4" in capsys.readouterr().out
    assert_same_weights(finished, tmp_path / "run")


def error_of(capsys, *command):
    capsys.readouterr()
    assert main(list(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    return line


def tree(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--transformer_lm.width=12"], "transformer_lm.width is 8 there, 12 here"),
        (["--tokenizer.kind=bytes"], 'tokenizer.kind is "characters" there, "bytes" here'),
        (["--data.batch_size=8"], "data.batch_size is 4 there, 8 here"),
        (["--model=rnn_seq2seq"], 'model is "transformer_lm" there, "rnn_seq2seq" here'),
        (["--optimizer.learning_rate=1"], "optimizer.learning_rate is 0.001 there, 1.0 here"),
    ],
)
def test_another_run_is_refused_and_nothing_touched(finished, text, capsys, flags, said):
    before = tree(finished)
    assert said in error_of(capsys, *arguments(text, finished, *flags))
    assert tree(finished) == before


def test_moved_data_goes_on_and_changed_data_is_refused(finished, text, tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "text.txt"
    shutil.copytree(finished, run)
    other.write_text(TEXT)
    assert main(arguments(other, run)) == 0
    other.write_text(TEXT + "more\n")
    assert "files.train is [[" in error_of(capsys, *arguments(other, run))


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--run.dir="], "--run.dir is missing"),
        (["--transformer_lm.max_positions=8"], "--transformer_lm.max_positions=8: expected at least --data.context=16"),
        (["--optimizer.name=adam"], "--optimizer.name=adam: expected one of adamw"),
        (["--model=transformer"], "--model=transformer: expected one of"),
        (["--run.minutes=0"], "--run.minutes=0: expected a value above 0"),
        (["--tokenizer.dir=nowhere"], "no tokenizer in nowhere"),
        (["--tokenizer.shared=false"], "--tokenizer.shared=false with --data.format=text: expected pairs"),
        (
            ["--tokenizer.shared=false", "--data.format=tsv", "--transformer_lm.max_positions=999"],
            "--tokenizer.shared=false with --model=transformer_lm: expected a shared vocabulary",
        ),
        (
            ["--tokenizer.shared=false", "--data.format=tsv", "--model=rnn_seq2seq", "--rnn_seq2seq.shared_embeddings"],
            "one vocabulary for both sides; set --rnn_seq2seq.shared_embeddings=false or leave --tokenizer.shared out",
        ),
        (
            ["--source_tokenizer.dir=x"],
            "--source_tokenizer.dir=x with a shared vocabulary: expected --tokenizer.shared",
        ),
        (["--decoding.top_k=9999"], "--decoding.top_k=9999: expected at most"),
    ],
)
def test_bad_flags_are_one_line(text, tmp_path, capsys, flags, said):
    assert said in error_of(capsys, *arguments(text, tmp_path / "run", *flags))


def test_no_budget_is_an_error(text, tmp_path, capsys):
    command = [argument for argument in arguments(text, tmp_path / "run") if "run.steps" not in argument]
    assert "no budget: expected one of --run.steps, --run.epochs and --run.minutes" in error_of(capsys, *command)


def test_flags_are_checked_before_tensorflow_is_imported():
    code = "import sys, tf_textgen.jobs.train; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=pathlib.Path(__file__).parents[2]).returncode == 0


def test_an_encoder_decoder_trains_on_dialogues_with_two_vocabularies(dialogue_run):
    run = load_run(dialogue_run)
    assert run.config["model"] == "rnn_seq2seq" and run.step == 2
    sizes = [run.config["model_config"][name] for name in ("source_vocabulary_size", "vocabulary_size")]
    assert sizes == [run.source_tokenizer.vocabulary_size, run.tokenizer.vocabulary_size] and sizes[0] > sizes[1]
    prints = [run.config[f"{name}_fingerprint"] for name in ("source_tokenizer", "tokenizer")]
    assert prints == [run.source_tokenizer.fingerprint, run.tokenizer.fingerprint]
