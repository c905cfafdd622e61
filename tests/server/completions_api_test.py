"""Completions in OpenAI's form, at once and streamed."""

import json

import pytest

from tests.server.served import asking, serving
from tests.server.toy_export import DECODING, expected, write_toy
from tf_textgen.decoding.parameter_table import sample_seed
from tf_textgen.server import completion_request

PATH = "/v1/completions"


@pytest.fixture
def ask(client):
    return lambda **body: client.post(PATH, body)


def events(answer):
    assert (answer.code, answer.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )
    *parts, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def test_samples_of_several_prompts(ask):
    answer = ask(model="toy", prompt=["x", "从"], n=2, seed=5, max_tokens=4)
    assert answer.code == 200
    seeds = [sample_seed(5, sample) for sample in range(2)] * 2
    texts = [expected(seed, 4) for seed in seeds]
    assert [
        (one["index"], one["text"], one["finish_reason"]) for one in answer.json["choices"]
    ] == [(row, text, "length") for row, text in enumerate(texts)]
    assert answer.json["object"] == "text_completion"
    assert answer.json["model"] == "toy"
    assert answer.json["usage"] == {"completion_tokens": 16}
    assert answer.json["choices"][0]["logprobs"] is None


def test_what_is_not_said_is_as_the_export_has_it_but_the_seed(ask):
    answers = [ask(prompt="x") for _ in range(20)]
    texts = {answer.json["choices"][0]["text"] for answer in answers}
    assert {len(text) for text in texts} == {DECODING["max_new_tokens"]}
    assert len(texts) > 1
    assert ask(prompt="x", seed=0, temperature=None).json["choices"][0]["text"] == expected(0, 5)


def test_echo_and_log_probabilities(ask):
    assert ask(prompt="x ", seed=1, echo=True).json["choices"][0]["text"] == "x " + expected(1, 5)
    logprobs = ask(prompt="x", seed=1, max_tokens=3, logprobs=0).json["choices"][0]["logprobs"]
    assert logprobs == {
        "tokens": list(expected(1, 3)),
        "token_logprobs": [-0.5] * 3,
        "top_logprobs": None,
        "text_offset": [0, 1, 2],
    }


def test_a_stream_is_the_text_in_parts(ask):
    answer = ask(prompt=["x", "y"], seed=2, max_tokens=20, stream=True, echo=True)
    found = events(answer)
    assert len(found) == 3  # of 8 tokens
    texts, reasons = ["", ""], {}
    for event in found:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
            if choice["finish_reason"]:
                reasons[choice["index"]] = choice["finish_reason"]
    assert texts == ["x" + expected(2, 20), "y" + expected(2, 20)]
    assert reasons == {0: "length", 1: "length"}
    assert {event["id"] for event in found} == {found[0]["id"]}
    *_, usage = events(
        ask(prompt="x", max_tokens=9, stream=True, stream_options={"include_usage": True})
    )
    assert (usage["choices"], usage["usage"]) == ([], {"completion_tokens": 9})


def test_rows_are_counted_before_they_are_made(ask, monkeypatch):
    made = []
    monkeypatch.setattr(completion_request, "_inputs", lambda *given: made.append(given))
    answer = ask(prompt=["x"] * 20_000, n=128)
    assert (
        answer.code == 400 and "2560000 rows came" in answer.json["error"]["message"] and not made
    )


@pytest.mark.parametrize(
    ("body", "parameter", "message"),
    [
        (
            {"prompt": "x", "top_k": 1.5},
            "top_k",
            "top_k: JSON Value: 1.5 Type: Number is not of expected type: int32",
        ),
        (
            {"prompt": "x", "temperature": -1},
            "temperature",
            "temperature: expected a finite value >= 0",
        ),
        ({"prompt": "x", "max_tokens": 101}, "max_tokens", "max_tokens: expected few"),
        ({"prompt": "x", "max_new_tokens": 101}, "max_new_tokens", "max_new_tokens: expected few"),
        ({"prompt": "x", "max_new_tokens": 1, "max_tokens": 1}, "max_tokens", "are both given"),
        ({"prompt": [1, 2]}, "prompt", "prompt: expected a string, or a list of strings"),
        ({"prompt": []}, "prompt", "prompt: expected a string, or a list of strings"),
        ({"prompt": "x", "n": 0}, "n", "n: expected an integer from 1 to 128"),
        ({"prompt": "x", "n": True}, "n", "n: expected an integer from 1 to 128"),
        ({"prompt": "x", "n": 33}, None, "33 rows came: expected at most 32"),
        ({"\ud800": 1}, None, "surrogate pair in string is invalid"),
        ({"prompt": "x", "best_of": True}, "best_of", "best_of: not supported; leave it out"),
        (
            {"prompt": "x", "stop": {}},
            "stop",
            "stop: expected a string, or a list of strings, none empty",
        ),
        ({"prompt": "x", "best_of": 2}, "best_of", "best_of: not supported; leave it out"),
        ({"prompt": "x", "suffix": "y"}, "suffix", "suffix: not supported"),
        ({"prompt": "x", "logit_bias": {"1": 2}}, "logit_bias", "logit_bias: not supported"),
        ({"prompt": "x", "logprobs": 2}, "logprobs", "logprobs: expected 0 or null"),
        (
            {"prompt": "x", "logprobs": 0, "stream": True},
            "logprobs",
            "logprobs: not supported with stream",
        ),
        ({"prompt": "x", "logprobs": 0, "echo": True}, "logprobs", "logprobs: not supported with"),
        ({"prompt": "x", "stream": 1}, "stream", "stream: expected true or false"),
        (
            {"prompt": "x", "stream_options": {}, "stream": True, "echo": 1},
            "echo",
            "echo: expected true or false",
        ),
        (
            {"prompt": "x", "stream_options": {"more": True}},
            "stream_options",
            "stream_options: expected {",
        ),
        (
            {"prompt": "x", "stop": [""]},
            "stop",
            "stop: expected a string, or a list of strings, none empty",
        ),
        (
            {"prompt": "x", "stop": "a\x1fb"},
            "stop",
            "stop: expected a string, or a list of strings, none empty",
        ),
        (
            {"prompt": "x", "temprature": 1},
            "temprature",
            "no such parameter; did you mean 'temperature'?",
        ),
        ({"prompt": "fail"}, None, "the prompt fails"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_in_openais_form(ask, body, parameter, message, stream):
    answer = ask(**{"stream": stream, **body})
    assert answer.code == 400
    error = answer.json["error"]
    assert message in error["message"]
    assert "\n" not in error["message"]
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        parameter,
        None,
    )


def test_options_of_a_stream_want_one(ask):
    answer = ask(prompt="x", stream_options={"include_usage": True})
    assert answer.json["error"]["message"].endswith("in a stream")


def test_neutral_values_of_what_cannot_be_done_are_taken(ask):
    body = {"best_of": 1, "suffix": "", "logit_bias": {}, "user": "me", "n": None, "stop": None}
    assert ask(prompt="x", seed=1, **body).json["choices"][0]["text"] == expected(1, 5)


def test_another_model_is_not_there(client, ask):
    answer = ask(model="other", prompt="x")
    assert answer.code == 404
    assert answer.json["error"] == {
        "message": "model: 'other' is not served; expected 'toy'",
        "type": "not_found_error",
        "param": "model",
        "code": "model_not_found",
    }
    (model,) = client.get("/v1/models").json["data"]
    assert (model["id"], model["object"]) == ("toy", "model")


def test_an_export_without_chunks_does_not_stream(tmp_path):
    write_toy(tmp_path, 1, stream=False)
    with serving(tmp_path) as server, asking(server) as client:
        answer = client.post(PATH, {"prompt": "x", "stream": True})
        assert answer.code == 400
        assert (
            "stream: this export has no signature generate_chunk" in answer.json["error"]["message"]
        )


def test_a_source_is_completed_and_not_echoed(pair_root):
    with serving(pair_root) as server, asking(server) as client:
        body = {"prompt": "x", "seed": 4, "max_tokens": 9}
        assert client.post(PATH, body).json["choices"][0]["text"] == expected(4, 9)
        found = events(client.post(PATH, {**body, "stream": True}))
        assert "".join(event["choices"][0]["text"] for event in found) == expected(4, 9)
        answer = client.post(PATH, {**body, "echo": True})
    assert (answer.code, answer.json["error"]["param"]) == (400, "echo")


def test_a_stream_that_fails_says_so_and_ends(server, client, monkeypatch):
    run, asked = server.model.current.loaded.run, []

    def fail_later(signature, inputs):
        asked.append(signature)
        if len(asked) > 1:
            raise RuntimeError("secret")
        return run(signature, inputs)

    monkeypatch.setattr(server.model.current.batcher, "_run", fail_later)
    answer = client.post(PATH, {"prompt": "x", "stream": True, "max_tokens": 20})
    first, second, rest = answer.text.split("\n\n")
    assert json.loads(first.removeprefix("data: "))["choices"][0]["finish_reason"] is None
    error = json.loads(second.removeprefix("data: "))["error"]
    assert (error["message"], error["type"]) == (
        "internal error; the server's log says more",
        "server_error",
    )
    assert rest == ""
