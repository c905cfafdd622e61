"""How examples are read from a text, and what an answer has to share with the pasted one."""

import json

import pytest

from tests.server.curl_examples import check_answer, examples

PREDICT = "/v1/models/quickstart:predict"
TEXT = """\
Not an example: `curl -d '{}' localhost:8501/v1/models/no:predict`.

```
$ curl -d '{"instances": ["Once upon a time"]}' localhost:8501/v1/models/quickstart:predict
{
    "predictions": ["..."]
}
$ ls
$ curl -d '{"signature_name": "generate",
  "instances": [{"prompt": "it'\\''s", "temperature": 0.0}]}' \\
    -H 'Content-Type: application/json' \\
    http://localhost:8501/v1/models/quickstart/versions/1:predict | python3 -m json.tool
{"predictions": [
  {"text": "x", "score": -1.5, "token_count": 2, "finish_reason": "length", "prompt_truncated": false,
   "token_texts": ["a", "b"]}]}
```

```console
$ curl -s localhost:8501/metrics | grep batch
tf_textgen_batch_rows_count{signature="generate"} 12
$ curl -N localhost:8501/v1/completions -d '{"model": "quickstart", "prompt": "x", "stream": true}'
data: {"id": "1", "choices": [{"text": " b", "finish_reason": null}]}

data: [DONE]
$ curl -fsS https://example.com/a
```
```
curl localhost:8501/v1/models/quickstart
```
  curl localhost:8501/v1/models/indented
"""


def one(command, answer=""):
    (found,) = examples(f"```\n$ {command}\n{answer}\n```\n")
    return found


def test_commands_and_their_answers_are_found():
    with pytest.raises(
        ValueError, match=r"curl -fsS https://example.com/a: the test does not know -fsS"
    ):
        examples(TEXT)
    default, generate, metrics, stream, status = examples(TEXT.replace("-fsS", "-s"))
    assert [example.path for example in (default, generate, metrics, stream, status)] == [
        PREDICT,
        "/v1/models/quickstart/versions/1:predict",
        "/metrics",
        "/v1/completions",
        "/v1/models/quickstart",
    ]
    assert default.body == b'{"instances": ["Once upon a time"]}' and json.loads(default.answer)
    assert json.loads(generate.body)["instances"] == [{"prompt": "it's", "temperature": 0.0}]
    assert generate.headers == {"Content-Type": "application/json"} and generate.answer.endswith(
        '["a", "b"]}]}'
    )
    assert (metrics.body, status.body, status.answer, metrics.model) == (None, None, "", None)
    assert {example.model for example in (default, generate, stream, status)} == {"quickstart"}
    assert stream.answer.endswith("[DONE]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no example: expected a fenced block with a line that begins with"),
        ("curl localhost:8501/metrics", "no example"),
        ("```\n$ curl example.com\n```", "no example"),
        ("```\n$ curl -d '{ localhost:8501/\n```", "the command does not end in its block"),
        ("```\n$ curl localhost:8501/ \\\n```", "the command does not end in its block"),
        ("```\n$ curl localhost:8500/\n```", "expected the port 8501"),
        (
            "```\n$ curl -d a -d b localhost:8501/\n```",
            "expected one address, and one body or none",
        ),
        (
            "```\n$ curl localhost:8501/ | head -3\n```",
            "expected the whole answer, and none that head -3 changed",
        ),
        ("```\n$ curl localhost:8501/\n{...}\n```", "its answer is neither JSON nor events"),
    ],
)
def test_what_is_no_example_is_told(text, message):
    with pytest.raises(ValueError, match=message):
        examples(text)


ROWS = {
    "predictions": [
        {"text": "a", "score": -1.5, "token_count": 2, "token_texts": ["a", "b"], "cut": False}
    ]
}
COLUMNS = {
    "outputs": {
        "text": ["a", "b"],
        "token_texts": [["a", "b"], ["c", ""]],
        "embedding": [[0.5], [1.0]],
    }
}
STREAM = 'data: {"choices": [{"text": "a", "finish_reason": null}]}\n\ndata: [DONE]\n'


def changed(document, key, **row):
    (first,) = document[key]
    return {key: [{**first, **row}]}


@pytest.mark.parametrize(
    ("pasted", "found", "is_alike"),
    [
        (ROWS, changed(ROWS, "predictions", text="other", score=-9.0, token_texts=["c"]), True),
        (ROWS, changed(ROWS, "predictions", score=-9), False),
        (ROWS, changed(ROWS, "predictions", cut=0), False),
        (ROWS, changed(ROWS, "predictions", token_texts=[]), False),
        (ROWS, changed(ROWS, "predictions", token_texts=["a", None]), False),
        (
            ROWS,
            changed(ROWS, "predictions", text="invalid top_p: expected a value > 0 and <= 1"),
            False,
        ),
        (ROWS, changed(ROWS, "predictions", more=1), False),
        (ROWS, {"predictions": ROWS["predictions"] * 2}, False),
        (ROWS, {"outputs": ROWS["predictions"]}, False),
        (
            COLUMNS,
            {
                "outputs": {
                    **COLUMNS["outputs"],
                    "token_texts": [["a"], ["b"]],
                    "embedding": [[1.5] * 2] * 2,
                }
            },
            True,
        ),
        (COLUMNS, {"outputs": {**COLUMNS["outputs"], "text": ["a"]}}, False),
        (COLUMNS, {"outputs": {**COLUMNS["outputs"], "token_texts": [["a"]]}}, False),
        ({"predictions": ["..."]}, {"predictions": ["a"]}, True),
        ({"predictions": ["..."]}, {"predictions": "a"}, False),
        (STREAM, STREAM.replace('"a"', '"b"').replace("null", '"stop"'), True),
        (STREAM, STREAM.replace("finish_reason", "reason"), False),
        (STREAM, '{"error": "x"}', False),
        ("", "anything", True),
    ],
)
def test_an_answer_has_the_keys_types_and_rows_of_the_pasted_one(pasted, found, is_alike):
    pasted, found = (
        value if isinstance(value, str) else json.dumps(value) for value in (pasted, found)
    )
    example = one(f"curl -d x localhost:8501{PREDICT}", pasted)
    if is_alike:
        check_answer(example, found)
    else:
        with pytest.raises(AssertionError):
            check_answer(example, found)


def test_metrics_may_say_anything():
    check_answer(one("curl localhost:8501/metrics", "a 1"), "b 2")
