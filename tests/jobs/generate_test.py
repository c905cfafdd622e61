"""`generate` from the command line: prompts from everywhere, texts, JSON, a dialogue, bad input."""

import json

import pytest

from tf_textgen.data.data_config import DataConfig
from tf_textgen.jobs.conversation import Conversation, conversation_of

SHORT = ["--decoding.max_new_tokens=5", "--decoding.temperature=0"]


@pytest.fixture
def generate(job, text_run):
    return lambda *arguments, **inputs: job(
        "generate", f"--run.dir={text_run}", *SHORT, *arguments, **inputs
    )


@pytest.fixture
def reply(job, dialogue_run):
    return lambda *arguments, **inputs: job(
        "generate", f"--run.dir={dialogue_run}", *SHORT, *arguments, **inputs
    )


def test_prompts_of_flags_files_and_standard_input_are_the_same(generate, tmp_path):
    code, lines, _ = generate("--prompt=one", "--prompt=二")
    assert (
        code == 0 and len(lines) == 2 and lines[0].startswith("one") and lines[1].startswith("二")
    )
    (tmp_path / "prompts").write_bytes("\ufeffone\r\n二\n".encode())
    assert generate(f"--prompt_file={tmp_path / 'prompts'}") == (0, lines, [])
    assert generate(stdin="one\n二\n") == (0, lines, [])
    assert generate("--batch_size=1", stdin="one\n二\n") == (0, lines, [])


def test_json_says_more(generate):
    code, lines, _ = generate("--prompt=one", "--json", "--decoding.num_samples=2")
    rows = [json.loads(line) for line in lines]
    assert code == 0 and [row.pop("sample") for row in rows] == [0, 1]
    assert rows[0]["token_texts"] == rows[1]["token_texts"]
    # A matrix product may sum the terms of two rows in another order, which changes the last bits.
    for name in ("score", "token_log_probabilities"):
        assert rows[1].pop(name) == pytest.approx(rows[0][name], rel=1e-5)
    assert {
        **rows[1],
        **{name: rows[0][name] for name in ("score", "token_log_probabilities")},
    } == rows[0]
    assert (
        generate("--prompt=one")[1] == [rows[0]["prompt"] + rows[0]["text"]]
        and rows[0]["prompt"] == "one"
    )
    assert (rows[0]["token_count"], rows[0]["finish_reason"]) == (5, "length")
    assert rows[0]["score"] < 0 and not rows[0]["prompt_truncated"]


def test_a_rule_stands_between_texts_of_several_lines(generate):
    one, two = (generate(f"--prompt={prompt}")[1] for prompt in ("one", "two"))
    _, several, _ = generate("--prompt=a\nb")
    assert several[0] == "a" and len(several) == len(one) + 1
    assert generate("--escapes", stdin="one\ntwo\na\\nb\na\\nb\none\n")[1] == [
        *one, *two, "---", *several, "---", *several, "---", *one,
    ]  # fmt: skip


def test_escapes_are_read_where_they_are_asked_for(generate):
    assert json.loads(generate("--json", "--prompt=a\\nb")[1][0])["prompt"] == "a\\nb"
    assert (
        json.loads(generate("--json", "--escapes", "--prompt=a\\n\\\\b\\t")[1][0])["prompt"]
        == "a\n\\b\t"
    )
    assert json.loads(generate("--json", "--escapes", stdin="a\\u4e8c\n")[1][0])["prompt"] == "a二"


def test_long_prompts_are_told(generate):
    code, _, errors = generate("--prompt=" + "word " * 20)
    assert code == 0
    assert errors == [
        f"note: the prompt {('word ' * 8)!r}... does not fit in the context; its beginning was cut"
    ]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (
            ["--prompt=a", "--prompt_file=b"],
            "",
            "--prompt and --prompt_file are both given: expected one of them",
        ),
        (
            ["--prompt_file=nowhere"],
            "",
            "--prompt_file=nowhere: no such file; expected a text file with one text a",
        ),
        (
            ["--prompt=a", "--decoding.max_new_tokens=99"],
            "",
            "max_new_tokens=99: expected at most 31, one less than",
        ),
        (
            ["--escapes"],
            "good\nba\\d\n",
            "standard input:2: a backslash before 'd'; expected n, t, r, xHH,",
        ),
        (
            ["--escapes", "--prompt=ba\\d"],
            "",
            "--prompt=ba\\d: a backslash before 'd'; expected n, t, r, xHH,",
        ),
        (
            ["--saved_model=x", "--prompt=a"],
            "",
            "--run.dir and --saved_model are both given: expected one of them",
        ),
        (
            ["--decoding.temperature=-1"],
            "",
            "--decoding.temperature=-1: expected a value at least 0",
        ),
    ],
)
def test_bad_input_is_one_line(generate, arguments, stdin, message):
    code, _, errors = generate(*arguments, stdin=stdin)
    assert code == 2 and len(errors) == 1 and message in errors[0]


def test_text_that_is_not_utf_8_is_told_by_its_line(generate, tmp_path):
    (tmp_path / "prompts").write_bytes(b"good\nb\xffd\n")
    code, _, errors = generate(f"--prompt_file={tmp_path / 'prompts'}")
    assert code == 2 and "prompts:2: byte 1 is not valid UTF-8; expected UTF-8 text" in errors[0]


def test_no_run_is_an_error(job):
    assert job("generate", "--prompt=a")[::2] == (
        2,
        [
            "error: --run.dir is missing: expected the folder of a run, as `train --run.dir=...` "
            "wrote it"
        ],
    )


@pytest.mark.thorough
def test_a_reply_is_the_text_alone(reply):
    code, lines, _ = reply("--json", "--escapes", stdin="<A> hi you\\n<B> hello\n")
    (row,) = map(json.loads, lines)
    assert code == 0 and row["source"] == "<A> hi you\n<B> hello" and row["token_count"] <= 5
    assert reply("--prompt=<A> hi you\n<B> hello")[1] == [row["text"]]


def test_a_typed_dialogue_remembers_what_was_said(reply):
    code, lines, errors = reply("--json", typed=["hi you", " bye now ", "", "bye"])
    rows = [json.loads(line) for line in lines]
    assert code == 0 and errors == [
        "One turn of the dialogue a line; an empty line starts a new dialogue; end with Ctrl-D.",
        "",
    ]  # fmt: skip
    # The run's contexts hold two turns.
    said = " ".join(rows[0]["text"].split())
    assert [row["source"] for row in rows] == [
        "<A> hi you",
        f"<B> {said}".rstrip() + "\n<A> bye now",
        "<A> bye",
    ]
    assert reply("--prompt=<A> hi you", "--json")[1] == lines[:1]


def test_typed_prompts_of_other_runs_stand_alone(generate):
    _, expected, _ = generate("--prompt=a", "--prompt=b")
    assert generate(typed=["a", "b"]) == (0, expected, ["One text a line; end with Ctrl-D.", ""])


def test_runs_and_exports_of_dialogues_alone_converse():
    assert conversation_of(DataConfig(format="dialogue")).prompt("hi") == "<A> hi"
    assert conversation_of(DataConfig(format="tsv")) is None
    assert conversation_of(None) is None  # an export made from Python


@pytest.mark.parametrize(
    ("reply_of", "first", "second"), [("both", "<A>", "<B>"), ("first", "<B>", "<A>")]
)
def test_the_person_speaks_as_whom_the_model_answered(reply_of, first, second):
    talk = Conversation(DataConfig(format="dialogue", reply_of=reply_of, context_turns=3))
    assert talk.prompt("one") == f"{first} one"
    talk.replied("two\nlines")
    assert talk.prompt("three") == f"{first} one\n{second} two lines\n{first} three"
    talk.replied("four")
    assert talk.prompt("five") == f"{first} three\n{second} four\n{first} five"
    talk.forget()
    assert talk.prompt("one") == f"{first} one"
