"""The REST interface of TF Serving: its forms and its errors."""

import base64

import numpy as np
import pytest

from tests.server.served import asking, serving
from tf_textgen.server.json_tensors import to_answer, to_json

PREDICT = "/v1/models/toy:predict"
PROMPTS = ["", "a", "从前有一个", "the cat sat on the mat " * 9]
ROW = {"max_new_tokens": 9, "seed": 3, "stop": "", "temperature": 0.5, "top_k": 0}


def test_row_and_column_form_of_one_tensor(client):
    expected = [prompt + "a" for prompt in PROMPTS]
    named = [{"text": prompt} for prompt in PROMPTS]
    encoded = [{"b64": base64.b64encode(prompt.encode()).decode()} for prompt in PROMPTS]
    for instances in (PROMPTS, named, encoded):
        answer = client.post(PREDICT, {"instances": instances})
        assert (answer.code, answer.json) == (200, {"predictions": expected})
    for inputs in (PROMPTS, {"text": PROMPTS}, encoded):
        asked = {"signature_name": "serving_default", "inputs": inputs}
        assert client.post("/v1/models/toy/versions/1:predict", asked).json == {"outputs": expected}


def test_row_and_column_form_of_many_tensors(client):
    prompts, counts = ["x", "从"], [2, 4]
    expected = {
        "text": ["de", "defg"],
        "score": [-1.0, -2.0],
        "token_count": counts,
        "finish_reason": ["length"] * 2,
        "prompt_truncated": [False] * 2,
        "token_log_probabilities": [[-0.5, -0.5, 0.0, 0.0], [-0.5] * 4],
        "token_texts": [["d", "e", "", ""], ["d", "e", "f", "g"]],
    }
    columns = {name: [value] * 2 for name, value in ROW.items()} | {
        "prompt": prompts,
        "max_new_tokens": counts,
    }
    answer = client.post(PREDICT, {"signature_name": "generate", "inputs": columns})
    assert answer.json == {"outputs": expected}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    answer = client.post(PREDICT, {"signature_name": "generate", "instances": rows})
    assert answer.json["predictions"] == [
        dict(zip(expected, row, strict=True)) for row in zip(*expected.values(), strict=True)
    ]


def test_floats_are_written_in_their_own_precision():
    values = np.array([0.2, 1 / 3, 1e-30, np.nan, np.inf], np.float32)
    written = to_json(to_answer({"x": values}, row_form=False)).decode()
    assert written == '{"outputs": [0.2, 0.33333334, 1e-30, NaN, Infinity]}'


def test_bytes_are_written_as_base64_where_their_name_says_so():
    answer = to_answer(
        {"a_bytes": np.array([b"\xff"], object), "b": np.array([b"\xff"], object)}, row_form=True
    )
    assert answer == {"predictions": [{"a_bytes": {"b64": "/w=="}, "b": "\ufffd"}]}


@pytest.mark.parametrize("inputs", [[], {"text": []}])
def test_no_rows_of_the_column_form(client, inputs):
    answer = client.post(PREDICT, {"inputs": inputs})
    assert answer.code == 400
    assert answer.json["error"] == "No values in 'inputs': expected at least one row"


def test_the_best_of_a_beam_lose_the_padding_of_other_rows(pair_root):
    wishes = {"source": "x", "stop": "", "length_penalty": "gnmt", "length_penalty_alpha": 1.0}
    with serving(pair_root) as server, asking(server) as client:
        loaded = server.model.current.loaded
        inputs = {name: np.array([value] * 2) for name, value in wishes.items()}
        joined = loaded.run("beam_search", {**inputs, "max_new_tokens": np.array([3, 9])})
        assert joined["token_texts"].shape == (2, 2, 9)
        asked = {"signature_name": "beam_search", "instances": [{**wishes, "max_new_tokens": 3}]}
        (row,) = client.post("/v1/models/pairs:predict", asked).json["predictions"]
    assert row["text"] == ["ab", "bcd"]
    assert row["token_texts"] == [["a", "b", ""], ["b", "c", "d"]]
    assert row["token_log_probabilities"] == [[-0.5, -0.5, 0.0], [-0.5] * 3]
    assert row["normalized_score"] == [-0.5, -0.75]


def test_a_refused_row_stays_in_band(client):
    bad = {"prompt": "a", **ROW, "temperature": -1}
    answer = client.post(
        PREDICT, {"signature_name": "generate", "instances": [bad, {"prompt": "a", **ROW}]}
    )
    assert answer.code == 200
    reasons = [row["finish_reason"] for row in answer.json["predictions"]]
    assert reasons == ["invalid temperature: expected a finite value >= 0", "length"]


def test_status_and_metadata(client):
    available = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("/v1/models/toy", "/v1/models/toy/versions/1"):
        assert client.get(path).json == {"model_version_status": [available]}
    found = client.get("/v1/models/toy/metadata").json
    assert found["model_spec"] == {"name": "toy", "signature_name": "", "version": "1"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["text"] == {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "serving_default_text:0",
    }
    assert signature["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/toy/versions/9", 404, "Could not find version 9 of model toy"),
        ("GET", "/v1/models/other/metadata", 404, "Servable not found for request: Latest(other)"),
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        (
            "POST",
            "/v1/models/toy/versions/9:predict",
            404,
            "Servable not found for request: Specific(toy, 9)",
        ),
        ("POST", "/v1/models/toy:classify", 400, "Malformed request: POST /v1/models/toy:classify"),
        (
            "GET",
            "/v1/models/toy/versions/x",
            400,
            "Malformed request: GET /v1/models/toy/versions/x",
        ),
        ("GET", "/v1/models/toy:predict", 400, "Malformed request: GET /v1/models/toy:predict"),
        (
            "GET",
            "/v1/models/../../etc/passwd",
            400,
            "Malformed request: GET /v1/models/../../etc/passwd",
        ),
        ("GET", "/v1/models/%2e%2e%2f%2e%2e", 400, "Malformed request: GET /v1/models/../.."),
        ("POST", "/v1/models/..:predict", 404, "Servable not found for request: Latest(..)"),
        ("GET", "/saved_model.pb", 404, "Not found: /saved_model.pb"),
        ("GET", "/../setup.cfg", 404, "Not found: /../setup.cfg"),
    ],
)
def test_what_is_not_there_is_told(client, method, path, code, message):
    answer = client.ask(method, path, b'{"instances": ["a"]}' if method == "POST" else None)
    assert (answer.code, answer.json) == (code, {"error": message})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b'{"instances": ["a"', "JSON Parse error: "),
        (b'{"instances": ["\xff"]}', "JSON Parse error: "),
        (b"[" * 100_000, "JSON Parse error: nested too deeply"),
        (b'["a"]', "Is not object"),
        (b'{"instances": ["\\ud800"]}', "surrogate pair in string is invalid"),
        (
            b'{"signature_name": "\\ud800", "instances": ["a"]}',
            "surrogate pair in string is invalid",
        ),
        (b'{"instances": ["a"], "\\udfff": 1}', "surrogate pair in string is invalid"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": ["a"], "instances": ["a"]}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": "a"}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"signature_name": 1, "instances": ["a"]}, "'signature_name' key must be a string value"),
        (
            {"signature_name": "x", "instances": ["a"]},
            'Serving signature name: "x" not found in signature def',
        ),
        (
            {"instances": [1]},
            "key: text. Error: JSON Value: 1 Type: Number is not of expected type: string",
        ),
        ({"instances": ["a", None]}, "JSON Value: null Type: Null is not of expected type: string"),
        ({"instances": ["a", ["b"]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"instances": [["a"]]}, "Expecting shape [?] but got: [1,1]"),
        (
            {"instances": [["a", "b"], ["c"]]},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            {"instances": [[["a"]], ["b"]]},
            "found at incorrect level: 3 in the JSON DOM. Expected at level: 3",
        ),
        ({"instances": ["a", {"text": "b"}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"text": "a"}, "b"]}, "Expecting object but got list at item 1"),
        ({"instances": [{"text": "a", "more": 1}]}, "keys must be equal to: text"),
        ({"instances": [{"b64": "%"}]}, "Unable to base64 decode"),
        ({"inputs": "a"}, "Expecting shape [?] but got: []"),
        ({"inputs": {"prompt": ["a"]}}, "Missing named input: text in 'inputs' object."),
        (
            {"signature_name": "generate", "instances": ["a"]},
            "expecting list of objects as multiple input tensors",
        ),
        (
            {"signature_name": "generate", "inputs": ["a"]},
            "expecting an object as multiple input tensors",
        ),
        ({"instances": ["a"] * 33}, "33 rows came: expected at most 32 (--max_batch_size)"),
    ],
)
def test_malformed_requests_are_told(client, body, message):
    answer = client.post(PREDICT, body)
    assert answer.code == 400
    assert set(answer.json) == {"error"}
    assert message in answer.json["error"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("top_k", 1.5, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ("top_k", 2**31, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ("top_k", True, "JSON Value: true Type: Bool is not of expected type: int32"),
        ("seed", 2**63, "is not of expected type: int64"),
        ("temperature", "1", 'JSON Value: "1" Type: String is not of expected type: float32'),
        (
            "temperature",
            1e39,
            "Cannot convert JSON value: 1e+39 to float32 without loss of precision",
        ),
        (
            "temperature",
            2**24 + 1,
            "Cannot convert JSON value: 16777217 to float32 without loss of precision",
        ),
        ("stop", 1, "is not of expected type: string"),
    ],
)
def test_values_are_held_to_the_signature(client, name, value, message):
    asked = {"signature_name": "generate", "instances": [{"prompt": "a", **ROW, name: value}]}
    answer = client.post(PREDICT, asked)
    assert answer.code == 400
    assert f"key: {name}. Error: " in answer.json["error"]
    assert message in answer.json["error"]


def test_columns_of_different_lengths_are_told(client):
    inputs = {name: [value] for name, value in {"prompt": "a", **ROW}.items()}
    answer = client.post(
        PREDICT, {"signature_name": "generate", "inputs": {**inputs, "prompt": ["a", "b"]}}
    )
    assert answer.code == 400
    assert (
        "different numbers of rows" in answer.json["error"] and "prompt 2" in answer.json["error"]
    )
