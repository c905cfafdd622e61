"""`score` from the command line."""

import json

import numpy as np
import pytest


@pytest.fixture
def score(job, text_run):
    return lambda *arguments, **inputs: job("score", f"--run.dir={text_run}", *arguments, **inputs)


@pytest.fixture
def score_pairs(job, dialogue_run):
    return lambda *arguments, **inputs: job(
        "score", f"--run.dir={dialogue_run}", *arguments, **inputs
    )


def test_texts_from_everywhere(score, tmp_path):
    code, lines, _ = score("--text=one", "--text=二")
    assert code == 0 and [line.split("  ")[1] for line in lines] == ["3 tokens", "3 tokens"]
    assert (
        lines[0].endswith("  one") and lines[1].endswith("  二") and lines[0].split()[1] == "nats"
    )
    (tmp_path / "texts").write_text("one\n二\n", encoding="utf-8")
    assert (
        score(f"--text_file={tmp_path / 'texts'}")
        == score("--batch_size=1", stdin="one\n二\n")
        == (0, lines, [])
    )


def test_tokens_add_up(score):
    (row,) = map(json.loads, score("--json", "--per_token", "--text=one")[1])
    assert row["tokens"] == ["o", "n", "e"] and row["token_count"] == 3 and not row["truncated"]
    assert sum(row["token_log_probabilities"]) == pytest.approx(row["log_probability"], abs=1e-4)
    assert row["perplexity"] == pytest.approx(np.exp(-row["log_probability"] / 3), rel=1e-4)
    assert len(score("--per_token", "--text=one")[1]) == 4


def test_long_texts_are_told(score):
    code, _, errors = score("--text=" + "word " * 20)
    assert (
        code == 0
        and "is longer than the context: a source loses its beginning, a text its end" in errors[0]
    )


def test_pairs_with_several_lines(score_pairs):
    _, (one,), _ = score_pairs("--json", "--text=<A> hi you\n<B> hello\tbye now")
    _, (other,), _ = score_pairs("--json", "--escapes", stdin="<A> hi you\\n<B> hello\tbye now\n")
    one, other = json.loads(one), json.loads(other)
    assert one.pop("text") != other.pop("text")
    assert one == other and one["token_count"] == 3  # the words and the end
    _, (shorter,), _ = score_pairs("--json", "--text=<B> hello\tbye now")
    assert json.loads(shorter)["log_probability"] != one["log_probability"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (
            ["--text=a", "--text_file=b"],
            "",
            "--text and --text_file are both given: expected one of them",
        ),
        (["--text_file=nowhere"], "", "--text_file=nowhere: no such file; expected a text file"),
        (
            [],
            "one column\n",
            "'one column' has 1 tab-separated columns: expected source TAB target",
        ),
        (["--escapes"], "a\tb\\d\n", "'b\\\\d': a backslash before 'd'; expected n, t, r"),
    ],
)
def test_bad_input_is_one_line(score_pairs, arguments, stdin, message):
    code, _, errors = score_pairs(*arguments, stdin=stdin)
    assert code == 2 and len(errors) == 1 and message in errors[0]
