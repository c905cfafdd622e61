"""`train` from the command line: runs that others can read, exact resumption, bad input."""

import contextlib
import dataclasses
import itertools
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
from absl import flags

from tf_textgen.data.dataset import evaluation_batches, open_corpus
from tf_textgen.jobs import main, train
from tf_textgen.judging.likelihood import evaluate_split
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.recipe import Recipe
from tf_textgen.runs.recorded_config import RecordedConfig
from tf_textgen.runs.recorded_paths import absolute_paths
from tf_textgen.runs.run_folder import RunFolder, load_run
from tf_textgen.training import opening

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
    flags = [
        f"--data.train={text}",
        f"--data.cache_dir={text.parent / 'cache'}",
        f"--run.dir={run}",
        *COMMON,
    ]
    flags += [f"--transformer_lm.{field}" for field in MODEL]
    return [
        "train",
        *flags,
        "--run.xla=off",
        "--tokenizer.kind=characters",
        "--run.sample_tokens=5",
        *more,
    ]


@pytest.fixture(scope="module")
def finished(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "finished"
    with open(path.with_suffix(".txt"), "w") as output, contextlib.redirect_stdout(output):
        assert main(arguments(text, path)) == 0
    return path


def variables(run, step=6):
    folder = Checkpoints(run / "checkpoints").folder(step)
    readers = [tf.train.load_checkpoint(str(folder / part)) for part in ("model", "optimizer")]
    return {
        key: r.get_tensor(key)
        for r in readers
        for key in r.get_variable_to_shape_map()
        if "OBJECT" not in key
    }


def assert_same_weights(one, other, step=6):
    one, other = variables(one, step), variables(other, step)
    assert one.keys() == other.keys() and any("seed" in key for key in one)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_the_run_folder_tells_all(finished, text):
    names = {path.name for path in finished.iterdir()}
    lines = (finished.parent / "finished.txt").read_text().splitlines()
    assert "" not in lines[: lines.index("next:")] and not any(
        "note: positions" in line for line in lines
    )
    files = {
        "lock",
        "recipe.flags",
        "config.json",
        "run.json",
        "samples.txt",
        "tokenizer",
        "checkpoints",
        "logs",
    }
    assert names == files
    config, record = (
        json.loads((finished / name).read_text()) for name in ("config.json", "run.json")
    )
    assert config["model"] == "transformer_lm" and config["model_config"]["width"] == 8
    assert config["data"]["train"] == [str(text)] and config["run"]["steps"] == 6
    assert (
        record["steps"] == 6
        and record["validation.nats_per_token"] > 0
        and record["tokens_per_second"] > 0
    )
    assert record["validation.bits_per_byte"] > 0 and record["train.nats_per_token"] > 0
    assert (
        record["parameters"] > 0
        and record["device"]
        and ("commit" in record or "version" in record)
    )
    assert record["command"].startswith("python -m tf_textgen train --model=transformer_lm")
    assert (finished / "samples.txt").read_text().count("=== step") == 2


def test_a_run_is_loaded_with_what_was_validated(finished):
    record = json.loads((finished / "run.json").read_text())
    run = load_run(finished)
    assert (
        run.step == record["best_step"]
        and run.tokenizer.vocabulary_size == run.config.model_config.vocabulary_size
    )

    data = run.config.data
    total = count = 0.0
    for features, labels, weights in evaluation_batches(
        open_corpus(data, run.tokenizer)["valid"], data
    ):
        logits = run.model(features).numpy().astype("float64")
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.take_along_axis(logits, labels.numpy()[..., None], -1)[..., 0]
        total, count = total - (chosen * weights.numpy()).sum(), count + weights.numpy().sum()
    assert record["validation.nats_per_token"] == pytest.approx(total / count, rel=1e-5)
    assert record["validation.tokens"] == count
    assert load_run(finished, "last").step == 6


def test_the_recipe_of_a_run_gives_the_same_run(finished, tmp_path):
    recipe = finished / "recipe.flags"
    assert (
        main(
            ["train", f"--flagfile={recipe}", f"--run.dir={tmp_path / 'again'}", "--run.samples=0"]
        )
        == 0
    )
    assert_same_weights(finished, tmp_path / "again")


def test_interrupted_and_resumed_equals_uninterrupted(
    finished, text, tmp_path, monkeypatch, capsys
):
    def interrupt(*unused):
        return lambda step: os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "make_sampler", interrupt)
        assert main(arguments(text, tmp_path / "run")) == 143
    assert not (tmp_path / "run" / "run.json").exists()
    assert main(arguments(text, tmp_path / "run", "--run.samples=0")) == 0
    assert "continuing from step 4" in capsys.readouterr().out
    assert_same_weights(finished, tmp_path / "run")


def error_of(capsys, *command):
    capsys.readouterr()
    assert main(list(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    return line


def tree(folder):
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--transformer_lm.width=12"], "transformer_lm.width is 8 there, 12 here"),
        (["--tokenizer.kind=bytes"], 'tokenizer.kind is "characters" there, "bytes" here'),
        (["--data.batch_size=8"], "data.batch_size is 4 there, 8 here"),
        (["--model=rnn_seq2seq"], 'model is "transformer_lm" there, "rnn_seq2seq" here'),
        (["--optimizer.learning_rate=1"], "optimizer.learning_rate is 0.001 there, 1.0 here"),
        (
            ["--run.precision=mixed_bfloat16"],
            'run.precision is "float32" there, "mixed_bfloat16" here',
        ),
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
    said = error_of(capsys, *arguments(other, run))
    there, _, here = said.partition(" there, ")
    assert "files.train is [[" in there
    assert f'"size": {len(TEXT)}, ' in there and f'"size": {len(TEXT) + 5}, ' in here


@pytest.mark.thorough
def test_another_budget_and_other_logging_lead_to_the_weights_of_one_run(text, tmp_path, capsys):
    """With a constant learning rate; others follow from the budget."""
    flags, looks = (
        ["--optimizer.schedule=constant", "--run.samples=0"],
        ["--run.validate_every=3", "--run.log_every=4"],
    )
    longer = "--transformer_lm.max_positions=17"
    assert main(arguments(text, tmp_path / "longer", *flags, "--run.steps=1", longer)) == 0
    assert (
        "note: positions from 16 on are not trained, since rows have --data.context=16 tokens"
        in capsys.readouterr().out
    )
    assert main(arguments(text, tmp_path / "whole", *flags, "--run.steps=7")) == 0
    assert main(arguments(text, tmp_path / "run", *flags, "--run.steps=4")) == 0
    assert (
        main(
            arguments(
                text, tmp_path / "run", *flags, *looks, "--run.steps=7", "--run.checkpoint_every=2"
            )
        )
        == 0
    )
    assert_same_weights(tmp_path / "whole", tmp_path / "run", step=7)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--run.dir="], "--run.dir is missing"),
        (
            ["--transformer_lm.max_positions=8"],
            "--transformer_lm.max_positions=8: expected at least --data.context=16",
        ),
        (
            ["--data.carry_state"],
            "--data.carry_state with --model=transformer_lm, which has no state that one batch",
        ),
        (
            ["--data.carry_state", "--model=rnn_lm", "--data.batch_size=999"],
            "fewer than one step of carried state needs",
        ),
        (
            [
                "--model=transformer_seq2seq",
                "--transformer_seq2seq.max_positions=30",
                "--data.format=tsv",
                "--data.max_source_tokens=10",
                "--data.max_target_tokens=30",
            ],
            "--transformer_seq2seq.max_positions=30: expected at least --data.max_source_tokens "
            "and --data.max_target_tokens, 31 for the longer with its special token; give "
            "--transformer_seq2seq.m",
        ),
        (["--optimizer.name=adam"], "--optimizer.name=adam: expected one of adamw"),
        (["--model=transformer"], "--model=transformer: expected one of"),
        (["--run.minutes=0"], "--run.minutes=0: expected a value above 0"),
        (["--tokenizer.dir=nowhere"], "no tokenizer in nowhere"),
        (
            ["--tokenizer.shared=false"],
            "--tokenizer.shared=false with --data.format=text: expected pairs",
        ),
        (
            ["--tokenizer.shared=false", "--data.format=tsv", "--transformer_lm.max_positions=999"],
            "--tokenizer.shared=false with --model=transformer_lm: expected a shared vocabulary",
        ),
        (
            [
                "--tokenizer.shared=false",
                "--data.format=tsv",
                "--model=rnn_seq2seq",
                "--rnn_seq2seq.shared_embeddings",
            ],
            "one vocabulary for both sides; set --rnn_seq2seq.shared_embeddings=false or leave "
            "--tokenizer.shared out",
        ),
        (
            ["--source_tokenizer.dir=x"],
            "--source_tokenizer.dir=x with a shared vocabulary: expected --tokenizer.shared",
        ),
        (["--decoding.top_k=9999"], "--decoding.top_k=9999: expected at most"),
        (
            ["--embedding.file=x", "--embedding.side=source"],
            "--embedding.side=source with --model=transformer_lm: expected all, since a language "
            "model has one table",
        ),
    ],
)
def test_bad_flags_are_one_line(text, tmp_path, capsys, flags, said):
    assert said in error_of(capsys, *arguments(text, tmp_path / "run", *flags))


def test_no_budget_is_an_error(text, tmp_path, capsys):
    command = [
        argument for argument in arguments(text, tmp_path / "run") if "run.steps" not in argument
    ]
    assert "no budget: expected one of --run.steps, --run.epochs and --run.minutes" in error_of(
        capsys, *command
    )


def test_flags_are_checked_before_tensorflow_is_imported():
    code = "import sys, tf_textgen.jobs.train; sys.exit('tensorflow' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=pathlib.Path(__file__).parents[2]
        ).returncode
        == 0
    )


def test_an_encoder_decoder_trains_on_dialogues_with_two_vocabularies(dialogue_run):
    run = load_run(dialogue_run)
    assert run.config.model == "rnn_seq2seq" and run.step == 2
    sizes = [
        getattr(run.config.model_config, name)
        for name in ("source_vocabulary_size", "vocabulary_size")
    ]
    assert (
        sizes == [run.source_tokenizer.vocabulary_size, run.tokenizer.vocabulary_size]
        and sizes[0] > sizes[1]
    )
    prints = [
        getattr(run.config, f"{name}_fingerprint") for name in ("source_tokenizer", "tokenizer")
    ]
    assert prints == [run.source_tokenizer.fingerprint, run.tokenizer.fingerprint]


@pytest.fixture(scope="module")
def counted(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "counted"
    assert main(arguments(text, path, "--model=ngram", "--ngram.order=3", "--run.samples=1")) == 0
    return path


def test_a_counted_run_is_a_run_like_others(counted, finished, text):
    record, other = (json.loads((path / "run.json").read_text()) for path in (counted, finished))
    assert {*other} - {*record} == {"train.nats_per_token", "train.perplexity", "train.accuracy"}
    assert {*record} <= {*other}
    assert (
        record["steps"] == record["best_step"] == 1
        and record["validation.tokens"] == other["validation.tokens"]
    )
    assert 0 < record["validation.nats_per_token"] < np.log(70) and record["tokens"] > 1000
    assert (counted / "samples.txt").read_text().count("=== step 1 ===") == 1
    run = load_run(counted)
    assert run.step == 1 and record["parameters"] == run.model.count_params()
    data = run.config.data
    run.model.compile()
    batches = evaluation_batches(open_corpus(data, run.tokenizer)["valid"], data)
    again = run.model.evaluate(batches, verbose=0, return_dict=True)["loss"]
    assert record["validation.nats_per_token"] == pytest.approx(float(again), rel=1e-6)


def test_a_counted_run_is_found_done_and_keeps_to_its_flags(counted, text, tmp_path, capsys):
    shutil.copytree(counted, tmp_path / "run")
    checkpoint = tree(tmp_path / "run" / "checkpoints")
    capsys.readouterr()
    assert main(arguments(text, tmp_path / "run", "--model=ngram", "--ngram.order=3")) == 0
    out = capsys.readouterr().out
    assert "before now" in out and "counting n-grams" not in out and "tensorboard" not in out
    assert tree(tmp_path / "run" / "checkpoints") == checkpoint
    configs = [
        json.loads((path / "config.json").read_text())["model_config"]
        for path in (counted, tmp_path / "run")
    ]
    assert configs[0] == configs[1] and len(configs[0]["contexts"]) == 2
    other = arguments(text, tmp_path / "run", "--model=ngram", "--ngram.order=4")
    assert "ngram.order is 3 there, 4 here" in error_of(capsys, *other)


def test_a_count_that_was_cut_short_begins_anew(counted, text, tmp_path, capsys):
    shutil.copytree(counted, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    capsys.readouterr()
    assert (
        main(
            arguments(text, tmp_path / "run", "--model=ngram", "--ngram.order=2", "--run.samples=0")
        )
        == 0
    )
    assert (
        "order 2:" in capsys.readouterr().out and load_run(tmp_path / "run").model.config.order == 2
    )


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--ngram.order=0"], "--ngram.order=0: expected a value at least 1 and at most 6"),
        (["--ngram.order=7"], "--ngram.order=7: expected a value at least 1 and at most 6"),
        (["--run.xla=on"], "--run.xla=on with --model=ngram: expected auto or off"),
        (["--run.baseline=nowhere"], "nowhere is no run folder"),
        (
            ["--embedding.file=x"],
            "--embedding.file=x with --model=ngram: expected a model with an embedding table; leave",
        ),
    ],
)
def test_bad_flags_of_counting_are_one_line(text, tmp_path, capsys, flags, said):
    assert said in error_of(capsys, *arguments(text, tmp_path / "run", "--model=ngram", *flags))


def test_counting_needs_no_validation(text, tmp_path, capsys):
    flags = ["--model=ngram", "--ngram.order=1", "--data.validation_fraction=0", "--run.samples=0"]
    assert main(arguments(text, tmp_path / "run", *flags)) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["best_step"] == load_run(tmp_path / "run").step == 1
    assert not [name for name in record if name.startswith("validation.")]
    said = capsys.readouterr().out
    assert (
        "validation" not in said
        and "tf_textgen generate" in said
        and "tf_textgen evaluate" not in said
    )


def test_an_order_longer_than_any_document_is_an_error(tmp_path, capsys):
    short = tmp_path / "short.txt"
    short.write_text("ab\n\ncd\n\nef\n\n")
    command = [
        f"--data.train={short}",
        f"--data.cache_dir={tmp_path}",
        "--tokenizer.kind=characters",
        "--model=ngram",
    ]
    said = error_of(capsys, "train", *command, "--ngram.order=5", f"--run.dir={tmp_path / 'run'}")
    assert "--ngram.order=5: no document has 4 tokens before a label" in said
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_baseline_is_quoted(counted, text, tmp_path, capsys):
    assert (
        main(arguments(text, tmp_path / "run", f"--run.baseline={counted}", "--run.samples=0")) == 0
    )
    other, record = (
        json.loads((path / "run.json").read_text()) for path in (counted, tmp_path / "run")
    )
    assert record["baseline.model"] == "ngram"
    for name in ("nats_per_token", "bits_per_byte"):
        assert record[f"baseline.{name}"] == other[f"validation.{name}"]
    assert (
        f"baseline ngram: validation {other['validation.nats_per_token']:.4f} nats/token, "
        in capsys.readouterr().out
    )


@pytest.mark.thorough
def test_a_language_model_is_counted_on_pairs(tmp_path):
    """The target follows from the source's last letter, which stands two places before it."""
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{'abc'[i % 3]}\t{'xyz'[i % 3]}\n" for i in range(200)))
    flags = [
        "--model=ngram",
        "--data.format=tsv",
        f"--data.train={pairs}",
        f"--data.cache_dir={tmp_path}",
    ]
    flags += [
        "--tokenizer.kind=characters",
        "--ngram.order=3",
        f"--run.dir={tmp_path / 'run'}",
        "--run.sample_prompt=b",
    ]
    assert main(["train", *flags, "--decoding.temperature=0"]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["validation.nats_per_token"] < 0.1 and record["tokens"] == 2 * 190
    assert "--- b\ny\n" in (tmp_path / "run" / "samples.txt").read_text()


@pytest.mark.thorough
def test_a_recurrent_model_carries_its_state_and_is_judged_likewise(text, tmp_path):
    run = tmp_path / "run"
    flags = ["--model=rnn_lm", "--rnn_lm.width=8", "--data.carry_state", "--run.samples=0"]
    assert main(arguments(text, run, *flags)) == 0
    record, loaded = json.loads((run / "run.json").read_text()), load_run(run)
    data = loaded.config.data
    judged = evaluate_split(loaded, data)
    assert judged["nats_per_token"] == pytest.approx(record["validation.nats_per_token"], rel=1e-5)
    one_stream = evaluate_split(loaded, dataclasses.replace(data, batch_size=1))
    windows = evaluate_split(loaded, dataclasses.replace(data, carry_state=False))
    assert judged["tokens"] == one_stream["tokens"] == windows["tokens"]
    assert len({metrics["nats_per_token"] for metrics in (judged, one_stream, windows)}) == 3
    split = open_corpus(data, loaded.tokenizer)["valid"]
    stream, total = split.read(0, split.stream_tokens), 0.0
    for start, stop in itertools.pairwise(split.document_places()):
        logits = (
            loaded.model({"target_tokens": stream[None, start : stop - 1]})[0]
            .numpy()
            .astype("float64")
        )
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= np.take_along_axis(logits, stream[start + 1 : stop, None], -1).sum()
    assert one_stream["nats_per_token"] == pytest.approx(total / split.num_tokens, rel=1e-5)


def test_an_encoder_decoder_trains_on_pairs(tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{i:03d}\t{i:03d}"[:8] + "\n" for i in range(40)))
    flags = [
        "--model=rnn_seq2seq",
        "--data.format=tsv",
        f"--data.train={pairs}",
        f"--data.cache_dir={tmp_path}",
    ]
    flags += ["--tokenizer.kind=characters", "--data.num_buckets=1", "--data.batch_tokens=64"]
    flags += [f"--rnn_seq2seq.{field}=8" for field in ("width", "embedding_width")]
    flags += [f"--rnn_seq2seq.{side}_layers=1" for side in ("encoder", "decoder")]
    flags += [f"--run.dir={tmp_path / 'run'}", "--run.steps=3", "--run.samples=0"]
    assert main(["train", *flags]) == 0
    run = load_run(tmp_path / "run")
    assert run.config.model == "rnn_seq2seq" and run.step == 3


def flags_of(*arguments):
    flag_values = flags.FlagValues()
    train.define_flags(flag_values)
    flag_values(["train", *arguments])
    return flag_values


def test_only_a_run_folder_means_its_recorded_recipe(tmp_path, monkeypatch):
    run = tmp_path / "a" / "run"
    text = tmp_path / "a" / "text.txt"
    text.parent.mkdir()
    text.write_text("text")
    monkeypatch.chdir(tmp_path / "a")
    given = ["--model=rnn_lm", "--data.train=text.txt", "--run.dir=run", "--run.steps=7"]
    recipe = Recipe.from_flags(flags_of(*given))
    with RunFolder(run) as folder:
        folder.write_recipe([*recipe.flag_lines(), "--run.sample_prompt=a"])
        model_config = recipe.model_for(9, 0)
        paths = absolute_paths(recipe)
        folder.write_config(RecordedConfig.of_recipe(recipe, model_config, paths=paths))
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    found = train.read_recipe(flags_of("--run.dir=a/run"))
    assert (found.model, found.run.steps, found.run.dir) == ("rnn_lm", 7, "a/run")
    assert found.data.train == (str(text),)
    more = train.read_recipe(flags_of("--run.dir=a/run", "--run.steps=9", "--run.sample_prompt=b"))
    assert (more.run.steps, more.run.sample_prompt) == (9, ("b",))
    other = train.read_recipe(flags_of("--run.dir=a/run", "--data.context=9"))
    assert other.model == "transformer_lm" and not other.data.train
