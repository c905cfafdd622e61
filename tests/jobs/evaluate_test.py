"""`evaluate` from the command line, against `score` and the counts of the files."""

import json
import math
import shutil

import pytest

from tests.support.data_files import write


@pytest.fixture
def evaluate(job, text_run):
    return lambda *arguments: job("evaluate", f"--run.dir={text_run}", *arguments)


@pytest.fixture
def evaluate_pairs(job, dialogue_run):
    return lambda *arguments: job("evaluate", f"--run.dir={dialogue_run}", *arguments)


def metrics_of(answer):
    code, lines, errors = answer
    assert code == 0 and not errors
    return json.loads(lines[-1])


def test_a_split_of_text(evaluate):
    found = metrics_of(evaluate("--json"))
    assert found["bytes"] == 20 + 30 and found["tokens"] == found["bytes"] + 2
    assert found["perplexity"] == pytest.approx(math.exp(found["nats_per_token"]), rel=1e-5)
    nats = found["nats_per_token"] * found["tokens"]
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / found["bytes"], rel=1e-5)
    code, lines, _ = evaluate()
    assert code == 0 and [line.split()[0] for line in lines] == list(found)


def test_files_in_place_of_a_split(evaluate, tmp_path):
    write(tmp_path / "a.txt", "twelve bytes")
    found = metrics_of(evaluate("--json", f"--file={tmp_path}/*.txt"))
    assert (found["bytes"], found["tokens"]) == (12, 13)
    overlapping = metrics_of(evaluate("--json", f"--file={tmp_path}/a.txt", "--stride=1"))
    # One window holds the whole text: nothing can overlap.
    assert overlapping["nats_per_token"] == pytest.approx(found["nats_per_token"], rel=1e-5)


def test_files_that_changed_since_the_training_are_an_error(job, text_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(text_run, run)
    config = json.loads((run / "config.json").read_text())
    file = {"name": "valid.txt", "sha256": "0" * 64}
    (run / "config.json").write_text(json.dumps({**config, "files": {"valid": [[file]]}}))
    code, _, errors = job("evaluate", f"--run.dir={run}")
    assert code == 2 and len(errors) == 1
    assert "has changed since the training: SHA-256" in errors[0] and "expected 0000" in errors[0]
    other = write(tmp_path / "a.txt", "twelve bytes")
    metrics_of(job("evaluate", f"--run.dir={run}", "--json", f"--file={other}"))


def test_another_file_of_the_name_in_the_current_folder_is_not_judged(
    job, text_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(text_run, run)
    config = json.loads((run / "config.json").read_text())
    (own,) = config["data"]["valid"]
    config["data"]["valid"] = ["text.txt"]
    (run / "config.json").write_text(json.dumps({**config, "paths": {"text.txt": own}}))
    expected = metrics_of(job("evaluate", f"--run.dir={text_run}", "--json"))
    write(tmp_path / "text.txt", "other")
    monkeypatch.chdir(tmp_path)
    code, lines, errors = job("evaluate", f"--run.dir={run}", "--json")
    assert code == 0 and json.loads(lines[-1]) == expected
    (note,) = errors
    assert "note: text.txt in the current folder is another file" in note and own in note


def test_replies_cost_what_they_score(evaluate_pairs, job, dialogue_run, tmp_path):
    write(tmp_path / "a.tsv", "9\thi you\thello\tbye now\n")
    found = metrics_of(evaluate_pairs("--json", f"--file={tmp_path}/a.tsv"))
    pairs = "<A> hi you\thello\n<A> hi you\\n<B> hello\tbye now\n"
    _, lines, _ = job("score", f"--run.dir={dialogue_run}", "--json", "--escapes", stdin=pairs)
    scores = [json.loads(line) for line in lines]
    assert found["tokens"] == sum(score["token_count"] for score in scores) == 2 + 3
    assert found["bytes"] == len("hello") + len("bye now")
    nats = -sum(score["log_probability"] for score in scores)
    assert found["nats_per_token"] * found["tokens"] == pytest.approx(nats, rel=1e-5)


def test_both_sides_in_files_of_their_own(evaluate_pairs, tmp_path):
    write(tmp_path / "a.source", "<A> hi you\n\n<A> bye\n")
    write(tmp_path / "a.target", "hello\nnothing\ngood bye\n")
    write(tmp_path / "a.tsv", "<A> hi you\thello\n<A> bye\tgood bye\n")
    sides = [
        "--data.format=parallel",
        f"--file={tmp_path}/a.source",
        f"--target_file={tmp_path}/a.target",
    ]
    table = ["--data.format=tsv", f"--file={tmp_path}/a.tsv"]
    found = metrics_of(evaluate_pairs("--json", *sides))
    assert found.pop("empty_dropped") == 1
    assert found == metrics_of(evaluate_pairs("--json", *table))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--file=nowhere.txt"],
            "--file=nowhere.txt: no such file; expected a path or glob of existing files",
        ),
        (["--stride=17"], "--stride=17: expected at most the context of 16 tokens"),
        (
            ["--split=test"],
            "no data for the split 'test': expected files; set --data.test or --data.corpus",
        ),
        (["--file={0}", "--target_file={0}"], "expected only --file; leave it out"),
        (
            ["--data.format=parallel", "--file={0}"],
            "--file with --data.format=parallel: expected the target side too",
        ),
        (
            ["--data.format=parallel", "--target_file={0}"],
            "without --file: expected both sides of the pairs; give",
        ),
        (
            ["--data.format=parallel", "--file={0}", "--target_file=no"],
            "--target_file=no: no such file; expected a",
        ),
        (
            ["--data.format=parallel", "--file={0}", "--file={1}", "--target_file={0}"],
            "--file names 2 files and --target_file 1: expected one target file for each source "
            "file",
        ),
    ],
)
def test_bad_input_is_one_line(evaluate, tmp_path, arguments, message):
    paths = [write(tmp_path / name, "text\n") for name in ("a", "b")]
    code, _, errors = evaluate(*(argument.format(*paths) for argument in arguments))
    assert code == 2 and len(errors) == 1 and message in errors[0]


def test_pairs_alone_are_read_as_pairs(evaluate_pairs, tmp_path):
    path = write(tmp_path / "a.tsv", "1\talone\n2\talone\n")
    code, _, errors = evaluate_pairs(f"--file={path}")
    assert code == 2 and "none of the 2 dialogues has a reply (--data.reply_of=both" in errors[0]
