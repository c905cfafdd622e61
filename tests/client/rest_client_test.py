"""The REST client against a server that answers as TensorFlow Serving does, and fails in every way
it can.
"""

import importlib
import json
import math
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from tests.server.contract import *  # noqa: F403
from tests.support import fake_texts
from tests.support.fake_served import *  # noqa: F403
from tests.support.fake_serving import FakeServing
from tf_textgen.client import errors as client_errors
from tf_textgen.client import inputs as client_inputs
from tf_textgen.client.rest_client import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ServerError,
    ServerUnavailable,
    StreamInterrupted,
    TooManyRows,
)
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import LengthPenalty
from tf_textgen.decoding.parameters import Parameters

GENERATED = fake_texts.answer("generate", {"prompt": ["a"], "max_new_tokens": [1], "stop": [""]})


@pytest.fixture
def connect(serving, running):
    return lambda model="model", **options: Client(running[1], model, **options)


@pytest.fixture
def clock(pauses, monkeypatch):
    """The pauses, and nothing else takes time."""
    monkeypatch.setattr(client_errors, "monotonic", lambda: sum(pauses))
    return pauses


def saying(status, value, **headers):
    """A fault: another answer than the server's own."""
    return lambda handler: handler.send(
        status, value, {name.replace("_", "-"): text for name, text in headers.items()}
    )


def reset(handler):
    """A fault: the connection ends without an answer."""
    handler.close_connection = True


def answer_as_usual(handler):
    """No fault: the server's own answer to a GET."""
    handler.send(200, handler.serving.reply("GET", handler.path, b""))


def predicts(serving):
    return [path for method, path, *_ in serving.requests if method == "POST"]


def test_the_defaults_are_those_of_decoding():
    config = DecodingConfig()
    expected = {
        name: getattr(config, name) for name in (*Parameters._fields, *LengthPenalty._fields)
    }
    assert {**expected, "temperature": config.resolved_temperature} == client_inputs.DEFAULTS


def test_what_is_generated(client):
    first, second = client.generate(["ab", "从前🙂"], temperature=0, max_new_tokens=2)
    assert (first.text, first.finish_reason, first.token_count, first.score) == (
        "ba",
        "length",
        2,
        -0.5,
    )
    assert (second.text, second.token_texts, second.prompt_truncated) == (
        "🙂前",
        ("🙂", "前"),
        False,
    )
    assert first.token_log_probabilities == (-0.25, -0.25) and first.normalized_score is None
    assert client.generate("x" * 41, max_new_tokens=1)[0].prompt_truncated
    assert [[one.text for one in best] for best in client.beam_search(["ab", "a"])] == [
        ["ba", "BA"],
        ["a"],
    ]
    assert list(client.stream("abcde", chunk_tokens=2)) == ["ed", "cb", "a"]


def test_none_is_no_wish(client):
    assert (
        client.generate("a" * 50, max_new_tokens=None, seed=None, num_samples=2)[0].token_count
        == fake_texts.MOST
    )


def test_scores_may_be_no_numbers(client, serving):
    infinite = {"log_probability": [-math.inf], "perplexity": [math.inf]}
    serving.answer = lambda name, inputs: {**fake_texts.answer(name, inputs), **infinite}
    (score,) = client.score("a")
    assert score.log_probability == -math.inf and score.perplexity == math.inf
    serving.answer = fake_texts.answer
    assert math.isnan(client.score("")[0].perplexity)


def test_sources_are_learned_from_the_metadata(connect, serving):
    serving.signatures = fake_texts.signatures("source")
    with connect() as client:
        assert client.generate("ab", max_new_tokens=2)[0].text == "ba"
        assert client.score(["a", "b"], ["a", "x"])[1].truncated
        with pytest.raises(
            InvalidRequest, match="1 sources and 2 texts came; expected a source for each text"
        ):
            client.score(["a", "b"], ["a"])
        with pytest.raises(
            InvalidRequest,
            match=r"^sources is missing: the signature 'score' of this model takes a source for",
        ):
            client.score(["x"])


def test_a_model_without_sources_is_given_none(client):
    with pytest.raises(
        InvalidRequest, match=r"^sources is given: the signature 'score' of this model takes only"
    ):
        client.score(["x"], ["y"])


def test_an_export_of_an_earlier_version_is_asked_for_what_it_has(connect, serving):
    for signature in serving.signatures.values():
        signature["inputs"].pop("typical_p", None)
        for name in ("token_log_probabilities", "token_texts"):
            signature["outputs"].pop(name, None)
    with connect() as client:
        assert client.generate("ab", typical_p=1.0, banned=[], temperature=None)[0].token_texts == (
            "b",
            "a",
        )
        with pytest.raises(
            InvalidRequest, match=r"^typical_p=0.5: the signature 'generate' of this model takes no"
        ):
            client.generate("ab", typical_p=0.5)
        serving.answer = lambda name, inputs: {
            key: value
            for key, value in fake_texts.answer(name, inputs).items()
            if not key.startswith("token_t")
        }
        assert client.generate("ab")[0].token_texts == ()


def test_a_version_that_takes_other_inputs_may_be_rolled_out(client, serving):
    removed = serving.signatures["generate"]["inputs"].pop("loop_repeats")
    assert client.generate("ab")[0].text == "ba"
    serving.signatures["generate"]["inputs"]["loop_repeats"] = removed
    assert (
        client.generate("ab")[0].text == "ba"
        and client.generate("ab", loop_repeats=2)[0].text == "ba"
    )


def test_a_stream_stays_with_the_version_that_began_it(connect, serving):
    with connect() as client:
        stream = client.stream("abcd", chunk_tokens=2)
        assert next(stream) == "dc"
        serving.states = {1: "AVAILABLE", 2: "AVAILABLE"}
        assert list(stream) == ["ba"] and set(predicts(serving)) == {
            "/v1/models/model/versions/1:predict"
        }
        assert next(client.stream("abcd", chunk_tokens=2)) == "dc"
    assert predicts(serving)[-1] == "/v1/models/model/versions/2:predict"


def test_a_stream_whose_version_is_gone_ends_with_the_text_so_far(connect, serving):
    with connect() as client:
        stream = client.stream("abcd", chunk_tokens=2)
        assert next(stream) == "dc"
        serving.states = {2: "AVAILABLE"}
        with pytest.raises(
            StreamInterrupted,
            match=r"version 1, which began the stream, is no longer served \(version 2 is\); expected",
        ) as raised:
            next(stream)
    assert raised.value.text == "dc"
    assert isinstance(raised.value, ModelNotFound)


def test_a_stream_without_text_yet_goes_on_with_the_new_version(connect, serving):
    switched = []

    def switch(handler):
        serving.states = {2: "AVAILABLE"}
        switched.append(handler.path)
        handler.send(404, {"error": "Servable not found for request: Specific(model, 1)"})

    with connect() as client:
        client.metadata()
        stream = client.stream("abcd", chunk_tokens=2)
        serving.faults.extend([answer_as_usual, switch])
        assert list(stream) == ["dc", "ba"]
    assert switched == ["/v1/models/model/versions/1:predict"]
    assert predicts(serving)[-2:] == ["/v1/models/model/versions/2:predict"] * 2


def test_a_stream_whose_model_is_gone_is_an_error(connect, serving):
    with connect() as client:
        stream = client.stream("abcd", chunk_tokens=2)
        assert next(stream) == "dc"
        serving.states = {}
        with pytest.raises(StreamInterrupted, match=r"\(no other version was found\)"):
            next(stream)


def test_a_call_that_the_server_refuses_as_too_large_is_split(client, serving):
    serving.most_rows = 3
    prompts = ["ab", "cd", "ef", "gh"]
    completions = client.generate(prompts, num_samples=2, max_new_tokens=2)
    assert [(one.prompt, one.sample, one.text) for one in completions] == [
        ("ab", 0, "ba"),
        ("ab", 1, "ba"),
        ("cd", 0, "dc"),
        ("cd", 1, "dc"),
        ("ef", 0, "fe"),
        ("ef", 1, "fe"),
        ("gh", 0, "hg"),
        ("gh", 1, "hg"),
    ]
    sent = [json.loads(body)["inputs"]["prompt"] for *_, body in serving.requests if body]
    assert [len(rows) for rows in sent] == [8, 3, 3, 2]
    assert [tokens.texts for tokens in client.tokenize(prompts)] == [
        ("a", "b"),
        ("c", "d"),
        ("e", "f"),
        ("g", "h"),
    ]


def test_a_call_that_cannot_be_split_says_what_to_change(client, serving):
    serving.most_rows = 0
    with pytest.raises(
        TooManyRows,
        match=r"Task size 2 is larger than maximum input batch size 0\); expected fewer rows: .* set "
        r"enable_large_batch_splitting, max_execution_batch_size and a larger max_batch_size in",
    ):
        client.generate(["a", "b"])
    assert len(predicts(serving)) == 1


MERGED = {
    "error": "Tensors with name 'prompt:0' from different tasks have different shapes and padding is "
    "turned off.Set pad_variable_length_inputs to true, or ensure that all tensors with the same "
    "namehave equal dimensions starting with the first dim."
}


def test_a_request_refused_for_its_neighbor_is_repeated_once(client, serving, pauses):
    client.metadata()
    serving.faults.append(saying(400, MERGED))
    assert client.generate("ab", max_new_tokens=2)[0].text == "ba"
    serving.faults.extend([saying(400, MERGED)] * 2)
    with pytest.raises(InvalidRequest, match="another client's request was in the same batch"):
        client.generate("ab", max_new_tokens=2)
    assert len(predicts(serving)) == 4
    assert not pauses


def test_no_request_is_without_rows(client, serving):
    before = len(serving.requests)
    for answer in (
        client.generate([]),
        client.generate([], num_samples=3),
        client.beam_search([]),
        client.score([]),
        client.score([], []),
        client.tokenize([]),
        client.detokenize([]),
        client.embed([]),
    ):
        assert answer == []
    assert len(serving.requests) == before
    signature = client.metadata().signatures["tokenize"]
    with pytest.raises(InvalidRequest, match=r"^tokenize: no rows came; expected at least one"):
        client._transport.predict(signature, {"text": []}, None, client._deadline(1.0))
    assert not predicts(serving)


@pytest.mark.parametrize("turn", [{"text": ["?"]}, {"state": ["2"]}])
def test_a_stream_that_turns_or_stands_is_an_error(client, serving, turn):
    stream = client.stream("abcd", chunk_tokens=2)
    assert next(stream) == "dc"
    serving.answer = lambda name, inputs: {
        **fake_texts.answer(name, inputs),
        "finished": [False],
        **turn,
    }
    with pytest.raises(ServerError, match="the stream cannot continue"):
        list(stream)


def test_a_version_may_be_chosen(connect, serving):
    serving.states = {3: "AVAILABLE", 7: "AVAILABLE"}
    with connect(version=3) as client:
        assert client.generate("ab")[0].text == "ba" and client.metadata().version == 3
        assert [(status.version, status.error_code) for status in client.status()] == [(3, "OK")]
    assert all("/versions/3" in path for _, path, *_ in serving.requests)
    with connect() as client:
        assert [status.version for status in client.status()] == [7, 3]


def test_names_of_models_are_quoted(serving, running, monkeypatch):
    monkeypatch.setattr(serving, "name", "模型 a/b")
    with Client(running[1], "模型 a/b") as client:
        assert client.generate("ab")[0].text == "ba"


@pytest.mark.parametrize(
    ("parameters", "name", "message"),
    [
        ({"temperature": "hot"}, "temperature", "temperature='hot': expected a number"),
        ({"temperature": True}, "temperature", "temperature=True: expected a number"),
        ({"temperature": 10**400}, "temperature", "temperature=1000000.*: expected a number"),
        ({"top_k": 1.0}, "top_k", "top_k=1.0: expected an integer from -2147483648 to 2147483647"),
        (
            {"top_k": 2**31},
            "top_k",
            "top_k=2147483648: expected an integer from -2147483648 to 2147483647",
        ),
        (
            {"seed": 2**63, "num_samples": 2},
            "seed",
            "seed=9223372036854775808: expected an integer from -9223",
        ),
        ({"num_samples": 0}, "num_samples", "num_samples=0: expected an integer >= 1"),
        (
            {"stop": ["a", ""]},
            "stop",
            r"stop=\['a', ''\]: expected a text, or several, none empty and none with '\\x1f'",
        ),
        ({"stop": ["a", 1]}, "stop", "stop 2: int 1 came, expected a str; decode it first"),
        (
            {"forced_prefix": ["a"]},
            "forced_prefix",
            r"forced_prefix=\['a'\]: expected one text without '\\x1f'",
        ),
        (
            {"tempratur": 1},
            "tempratur",
            "tempratur=1: no such parameter; expected one of those of 'generate'; did you",
        ),
        (
            {"length_penalty": "none"},
            "length_penalty",
            "length_penalty='none': the signature 'generate' of this model",
        ),
    ],
)
def test_parameters_of_the_wrong_type_are_not_sent(client, serving, parameters, name, message):
    with pytest.raises(InvalidRequest, match=f"^{message}") as raised:
        client.generate("a", **parameters)
    assert raised.value.parameter == name and not predicts(serving)


def test_texts_that_are_none_are_not_sent(client, serving):
    with pytest.raises(
        InvalidRequest, match=r"^text 2: bytes b'b' came, expected a str; decode it first$"
    ):
        client.generate(["a", b"b"])
    with pytest.raises(
        InvalidRequest,
        match=r"^text 1: character 2 of 'a\\ud800' is a lone surrogate; expected valid",
    ):
        client.generate("a\ud800")
    assert not predicts(serving)


def test_a_signature_that_is_missing_is_told(client, serving):
    del serving.signatures["beam_search"]
    client.metadata()
    names = "detokenize, embed, generate, generate_chunk, score, serving_default, tokenize"
    with pytest.raises(
        InvalidRequest, match=f"version 1 has no signature 'beam_search', but {names}; expected an"
    ):
        client.beam_search("a")


def test_an_input_that_the_client_does_not_know_is_told_or_given(client, serving):
    serving.signatures["generate"]["inputs"]["novelty"] = {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"unknown_rank": True},
    }
    client.metadata()
    with pytest.raises(
        InvalidRequest, match="takes 'novelty', which this client does not know and was not given"
    ):
        client.generate("a")
    assert client.generate("ab", novelty=0.5)[0].text == "ba"


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (
            400,
            {"error": "Bad input"},
            InvalidRequest,
            "refused the request (INVALID_ARGUMENT: HTTP 400, Bad input); e",
        ),
        (
            403,
            b"<html>\n no </html>",
            InvalidRequest,
            "request (PERMISSION_DENIED: HTTP 403, <html> no </html>); expe",
        ),
        (
            404,
            b"",
            ModelNotFound,
            "the server has no such model (NOT_FOUND: HTTP 404, ); expected a model that it ser",
        ),
        (
            429,
            {"error": "full"},
            Overloaded,
            "is overloaded (RESOURCE_EXHAUSTED: HTTP 429, full); expected room for",
        ),
        (
            500,
            {"error": "RESOURCE_EXHAUSTED: OOM"},
            Overloaded,
            "is overloaded (RESOURCE_EXHAUSTED: HTTP 500, RES",
        ),
        (
            504,
            {"error": "late"},
            DeadlineExceeded,
            "the server gave up (DEADLINE_EXCEEDED: HTTP 504, late); expected",
        ),
        (
            500,
            {"error": "crash"},
            ServerError,
            "the server failed (INTERNAL: HTTP 500, crash); expected an answer: l",
        ),
        (
            301,
            b"",
            ServerError,
            "the server failed (INTERNAL: HTTP 301, ); expected an answer: look into the server",
        ),
        (200, b"{", ServerError, "the answer cannot be read (Expecting property name"),
        (
            200,
            b"[" * 100_000,
            ServerError,
            "the answer cannot be read (maximum recursion depth exceeded",
        ),
        (200, {"predictions": []}, ServerError, "the answer cannot be read ('outputs' in b'"),
        (
            200,
            {"outputs": [1]},
            ServerError,
            "the answer cannot be read (the outputs have no names); expected the JS",
        ),
        (
            200,
            {"outputs": {"text": ["a"]}},
            ServerError,
            "the answer has no output 'score', but text; expected those",
        ),
        (
            200,
            {"outputs": {**GENERATED, "token_count": ["1"]}},
            ServerError,
            "the answer cannot be read (slice indices",
        ),
        (
            200,
            {"outputs": {"text": "a"}},
            ServerError,
            "the answer's 'text' is not a list of 1; expected a value for",
        ),
    ],
)
def test_other_answers_are_errors_of_a_line(client, serving, pauses, status, body, error, message):
    client.metadata()
    serving.faults.append(saying(status, body))
    with pytest.raises(error, match=re.escape(message)) as raised:
        client.generate("a")
    assert "\n" not in str(raised.value) and len(predicts(serving)) == 1 and not pauses


def test_bytes_come_as_base64_and_what_is_not_utf_8_is_replaced(client, serving):
    client.metadata()
    whole = fake_texts.answer("score", {"text": ["a"]})
    serving.faults.append(
        saying(200, {"outputs": {**whole, "token_texts": [[{"b64": "5Lq6/w=="}]]}})
    )
    assert client.score("a")[0].token_texts == ("人\ufffd",)
    body = b'{"outputs": {"log_probability": [-1], "token_count": [1], "perplexity": [NaN], "truncated": [false], '
    body += b'"token_log_probabilities": [[-Infinity]], "token_texts": [["\xff"]]}}'
    serving.faults.append(saying(200, body))
    (score,) = client.score("a")
    assert score.token_texts == ("\ufffd",) and score.token_log_probabilities == (-math.inf,)
    serving.faults.append(saying(200, {"outputs": {"b64": "~"}}))
    with pytest.raises(ServerError, match="the answer cannot be read"):
        client.score("a")


def test_an_unavailable_server_is_asked_again_after_growing_pauses(client, serving, pauses):
    serving.faults.extend([saying(503, {"error": "queue is full"})] * 3)
    assert client.generate("ab")[0].text == "ba"
    assert len(pauses) == 3
    for pause, longest in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert longest / 2 <= pause <= longest
    serving.faults.extend([saying(503, {"error": "queue is full"})] * 4)
    with pytest.raises(
        Overloaded, match=r"is overloaded \(UNAVAILABLE: HTTP 503, queue is full\); expected room"
    ):
        client.generate("ab")


def test_a_reset_connection_is_opened_again_and_then_waited_for(client, serving, pauses):
    serving.faults.extend([reset] * 3)  # the kept connection, and two attempts
    assert client.generate("ab")[0].text == "ba" and len(pauses) == 2


@pytest.mark.parametrize(
    "form", ["7", "Fri, 31 Dec 2199 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "soon"]
)
def test_the_server_says_when_to_come_back(client, serving, pauses, form):
    client.metadata()
    serving.faults.append(saying(503, {"error": "full"}, Retry_After=form))
    if "2199" in form:
        with pytest.raises(Overloaded):  # at once, since the deadline is before
            client.generate("ab")
    else:
        assert client.generate("ab")[0].text == "ba" and (
            pauses == [7.0] if form == "7" else pauses[0] <= 0.1
        )


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 2", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    ],
)
def test_the_deadline_holds_for_answers_that_stall_or_drip(connect, serving, head, drop):
    over = threading.Event()

    def stall(handler):
        handler.wfile.write(head)
        while not over.wait(0.02):
            handler.wfile.write(drop)

    serving.faults.append(stall)
    with connect() as client:
        began = time.monotonic()
        with pytest.raises(
            DeadlineExceeded,
            match=r"models/model: no answer within 0.2 s; expected one in time: give",
        ):
            client.status(timeout_s=0.2)
        taken = time.monotonic() - began
        over.set()
        assert 0.2 <= taken < 5 and client.status()[0].state == "AVAILABLE"


def test_no_server_is_told_after_all_attempts(running, pauses):
    with FakeServing(fake_texts.answer, {}).running() as address:
        pass
    with Client(address, "model", retries=2) as client:
        with pytest.raises(
            ServerUnavailable,
            match=r"no connection \(.*refused\); expected a server there: start it",
        ):
            client.generate("a")
        assert len(pauses) == 2
    with (
        Client("no-such-host.invalid:1", "model") as client,
        pytest.raises(
            ServerUnavailable,
            match=r"http://no-such-host.invalid:1: no connection \(.*expected a server",
        ),
    ):
        client.status()


def test_connections_are_kept_and_reopened_when_they_are_stale(client, serving, pauses):
    before = serving.connections
    client.generate("ab")
    client.generate("ab")
    assert serving.connections == before

    def leave(handler):
        handler.close_connection = True
        saying(200, serving.reply("GET", "/v1/models/model", b""))(handler)

    serving.faults.append(leave)
    assert client.status() and client.status() and client.generate("ab")
    assert serving.connections == before + 1 and not pauses


def test_a_connection_that_breaks_in_an_answer_is_not_tried_again(client, serving, pauses):
    def cut(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        handler.close_connection = True

    client.metadata()
    serving.faults.append(cut)
    with pytest.raises(ServerUnavailable, match="the connection broke in the middle of the answer"):
        client.generate("a")
    assert not pauses and len(predicts(serving)) == 1


def test_a_server_that_speaks_no_http_is_told(client, serving):
    def shout(handler):
        handler.wfile.write(b"\x00\x00\x12\x04\r\n")
        handler.close_connection = True

    serving.faults.append(shout)
    with pytest.raises(
        ServerError,
        match=r"the answer is no HTTP \(.*\); expected the port of the server's REST API",
    ):
        client.status()


@pytest.mark.parametrize("headers", [b"Content-Length: 1001\r\n", b"Connection: close\r\n"])
def test_longer_answers_are_refused(connect, serving, headers):
    def pour(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + b" " * 1001)
        handler.close_connection = True

    serving.faults.append(pour)
    with connect(max_response_bytes=1000) as client:
        with pytest.raises(
            ServerError,
            match="the answer is longer than 1000 bytes; expected at most max_response_by",
        ):
            client.status()
        assert client.status()[0].version == 1


def test_a_long_body_may_be_refused_before_it_is_read(client, serving):
    client.metadata()

    def refuse(handler):
        saying(413, {"error": "too long"})(handler)
        handler.close_connection = True

    serving.faults.append(refuse)
    with pytest.raises(InvalidRequest, match="HTTP 413, too long"):
        client.generate("a" * 10**6)


def test_waiting_ends_when_a_version_is_available(connect, serving, clock):
    serving.states = {4: "LOADING"}
    loaded = serving.reply("GET", "/v1/models/model", b"")
    serving.states = {4: "AVAILABLE", 3: "END"}
    missing = saying(404, {"error": "Could not find any versions of model model"})
    serving.faults.extend([reset, missing, saying(200, loaded), saying(503, {"error": "busy"})])
    with connect() as client:
        client.wait_until_ready()
        assert len(serving.requests) == 5
        serving.states = {4: "LOADING", 3: "END"}
        with pytest.raises(
            DeadlineExceeded,
            match=r"not ready within 5.05 s \(version 4 is LOADING, version 3 is END\)",
        ):
            client.wait_until_ready(timeout_s=5.05)
        assert sum(clock) == pytest.approx(5.4, abs=0.2)


def test_headers_go_with_each_request(connect, serving):
    with connect(headers={"Authorization": "Bearer x"}) as client:
        client.generate("a")
    assert {headers["Authorization"] for _, _, headers, _ in serving.requests} == {"Bearer x"}


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_other_hosts(host):
    try:
        with (
            FakeServing(fake_texts.answer, fake_texts.signatures()).running(host=host) as address,
            Client(f"http://{address}/", "model") as client,
        ):
            assert client.status()[0].version == 1
    except OSError as error:
        pytest.skip(f"no {host} on this machine: {error}")


@pytest.mark.parametrize(
    ("address", "came"),
    [
        ("localhost", "neither HOST:PORT nor a URL"),
        ("::1:8501", "neither HOST:PORT nor a URL"),
        ("ftp://host", "no http or https URL"),
        ("http://", "no http or https URL"),
        ("http://host:99999", "Port out of range 0-65535"),
        ("http://me:word@host", "more than a host, a port and a path"),
        ("http://host/?a=b", "more than a host, a port and a path"),
        ("http://a..b:1", ".*label"),
    ],
)
def test_bad_addresses_are_told(address, came):
    with pytest.raises(
        InvalidRequest,
        match=rf"^address {re.escape(repr(address))}: {came}.*; expected HOST:PORT, ",
    ):
        Client(address, "model")


def test_bad_options_are_told():
    for timeout_s in (0, -1.0, math.nan, math.inf):
        with pytest.raises(
            InvalidRequest, match=r"^timeout_s=.*: expected a finite number of seconds above 0$"
        ):
            Client("host:1", "model", timeout_s=timeout_s)
    with pytest.raises(InvalidRequest, match=r"^retries=-1: expected 0 or more$"):
        Client("host:1", "model", retries=-1)


def test_proxies_are_ignored_and_no_tensorflow_is_imported(running, serving):
    script = (
        "import sys\nfrom tf_textgen.client.rest_client import Client\n"
        f"with Client({running[1]!r}, 'model') as client: print(client.generate('ab🙂')[0].text)\n"
        "print([name for name in ('tensorflow', 'keras', 'numpy', 'absl') if name in "
        "sys.modules])\n"
    )
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["🙂ba", "[]"]), done.stderr


def test_a_missing_package_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3", None)
    monkeypatch.delitem(sys.modules, "tf_textgen.client.http_pool")
    with pytest.raises(
        ImportError, match=r"the client needs urllib3 \(.*\): pip install 'tf_textgen\[client\]'"
    ):
        importlib.import_module("tf_textgen.client.http_pool")
