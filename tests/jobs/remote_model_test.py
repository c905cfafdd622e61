"""`generate --server`: what a served model says is written as what a run says."""

import json
import subprocess
import sys

import pytest

from tests.support import fake_texts
from tests.support.fake_served import *  # noqa: F403


@pytest.fixture
def generate(job, serving, running):
    asked = ["generate", f"--server={running[1]}", "--server_model=model"]
    return lambda *arguments, **inputs: job(*asked, *arguments, **inputs)


def asked(serving):
    """The inputs of the requests, and their signatures."""
    bodies = [json.loads(body) for method, _, _, body in serving.requests if method == "POST"]
    return [(body["signature_name"], body["inputs"]) for body in bodies]


def test_prompts_are_continued_batch_by_batch(generate, serving):
    assert generate("--batch_size=2", stdin="ab\n从前🙂\nx\n") == (
        0,
        ["abba", "从前🙂🙂前从", "xx"],
        [],
    )
    # The first request asks for more tokens than the export allows, as nobody knew.
    answered = [
        inputs for _, inputs in asked(serving) if inputs["max_new_tokens"][0] == fake_texts.MOST
    ]
    assert [inputs["prompt"] for inputs in answered] == [["ab", "从前🙂"], ["x"]]
    assert generate("--prompt=a\nb", "--prompt=c") == (0, ["a", "bb", "a", "---", "cc"], [])


def test_every_decoding_flag_is_sent(generate, serving):
    strings = {"stop": "q", "banned": "w", "allowed": "e", "forced": "r"}
    numbers = {
        "temperature": 0.5,
        "top_k": 3,
        "min_p": 0.25,
        "seed": 7,
        "max_new_tokens": 9,
        "presence_penalty": -0.5,
    }
    flags = [f"--decoding.{name}={value}" for name, value in {**strings, **numbers}.items()]
    assert (
        generate(*flags, "--decoding.stop=\\n", "--decoding.forced_prefix=x", "--prompt=ab")[0] == 0
    )
    ((name, inputs),) = asked(serving)
    expected = {
        **strings,
        **numbers,
        "stop": "q\x1f\n",
        "forced_prefix": "x",
        "top_p": 1.0,
        "loop_repeats": 0,
    }
    assert name == "generate" and {key: inputs[key] for key in expected} == {
        k: [v] for k, v in expected.items()
    }


def test_json_says_more(generate):
    code, lines, _ = generate(
        "--json", "--decoding.num_samples=2", "--decoding.max_new_tokens=2", "--prompt=ab"
    )
    first, second = map(json.loads, lines)
    assert code == 0 and (first["prompt"], first["text"], first["sample"], second["sample"]) == (
        "ab",
        "ba",
        0,
        1,
    )
    assert (first["token_count"], first["finish_reason"], first["token_texts"]) == (
        2,
        "length",
        ["b", "a"],
    )
    assert "normalized_score" not in first


def test_sources_and_a_beam(generate, serving):
    serving.signatures = fake_texts.signatures("source")
    code, lines, _ = generate(
        "--json", "--decoding.beam_width=2", "--decoding.num_best=2", "--prompt=ab"
    )
    rows = [json.loads(line) for line in lines]
    assert code == 0 and [(row["source"], row["text"], row["rank"]) for row in rows] == [
        ("ab", "ba", 0),
        ("ab", "BA", 1),
    ]
    flags = ["--decoding.beam_width=2", "--decoding.length_penalty=none", "--decoding.seed=3"]
    note = "note: --decoding.beam_width=2 asks for the export's own beam, whose width it fixed"
    assert generate(*flags, "--prompt=ab") == (0, ["ba"], [note])
    assert asked(serving)[-1][1]["length_penalty"] == ["none"]


def test_typed_prompts_are_answered_piece_by_piece(generate, serving):
    note = (
        f"note: the prompt {('x' * 40)!r}... does not fit in the context; its beginning or end was "
        "cut"
    )
    hint = "One text a line; end with Ctrl-D."
    typed = ["从前有一个🙂abc", "", "x" * 41]
    code, lines, errors = generate(typed=typed)
    assert (code, errors) == (0, [hint, note, ""])
    assert lines == ["从前有一个🙂abccba🙂个一有前从", "", "x" * (41 + fake_texts.MOST)]
    assert {name for name, _ in asked(serving)} == {"generate_chunk"} and len(
        asked(serving)
    ) == 1 + 2 + 1 + 4
    del serving.signatures["generate_chunk"]
    assert generate(typed=typed)[1] == lines and asked(serving)[-1][0] == "generate"


def test_sources_are_not_written_again(generate, serving):
    serving.signatures = fake_texts.signatures("source")
    assert generate(typed=["ab"])[1] == generate("--prompt=ab")[1] == ["ba"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run.dir=x"], "error: --run.dir and --server are both given: expected one of them"),
        (
            ["--saved_model=x"],
            "error: --saved_model and --server are both given: expected one of them",
        ),
        (
            ["--run.checkpoint=last"],
            "error: --run.checkpoint and --server are both given: an export has no check",
        ),
        (
            ["--server_model="],
            "error: --server_model is missing: expected the name of the model on --server",
        ),
        (
            ["--server=nowhere"],
            "error: address 'nowhere': neither HOST:PORT nor a URL; expected HOST:PORT, like",
        ),
        (
            ["--server_model=other"],
            "other: the server has no such model (NOT_FOUND: HTTP 404, Servable not found for",
        ),
        (
            ["--decoding.top_p=2"],
            "error: --decoding.top_p=2: expected a value at most 1 and above 0",
        ),
        (
            ["--decoding.max_new_tokens=31"],
            "error: --decoding.max_new_tokens=31: expected an integer from 1 to 30",
        ),
        (
            ["--decoding.max_length_ratio=2"],
            "error: --decoding.max_length_ratio=2.0: this model continues texts and",
        ),
        (
            ["--server="],
            "error: --server_model is given without --server: expected --server=HOST:PORT with it, "
            "or",
        ),
    ],
)
def test_bad_input_is_one_line(generate, flags, message):
    code, lines, errors = generate("--prompt=a", *flags)
    assert (code, lines, len(errors)) == (2, [], 1) and message in errors[0]


def test_more_texts_than_the_beam_keeps_are_told(generate):
    code, _, errors = generate("--prompt=a", "--decoding.beam_width=3", "--decoding.num_best=3")
    expected = (
        "error: --decoding.num_best=3: expected an integer from 1 to 2, which the export fixes"
    )
    assert (code, errors[1:]) == (2, [expected])


def test_no_tensorflow_is_imported(running, serving):
    flags = ["generate", f"--server={running[1]}", "--server_model=model", "--prompt=ab"]
    script = (
        f"import sys; from tf_textgen.jobs import main; main({flags!r}); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout.splitlines()) == (0, ["abba", "False"]), done.stderr
