"""The gRPC client against a server that answers as TensorFlow Serving does, and fails in every way
it can.
"""

import importlib
import re
import sys
import threading

import pytest

from tests.server.contract import *  # noqa: F403
from tests.support import fake_texts
from tests.support.fake_grpc import FakeGrpc
from tests.support.fake_serving import FakeServing
from tf_textgen.client import errors, grpc_client
from tf_textgen.client.grpc_client import GrpcClient

FULL = "The batch scheduling queue to which this task was submitted is full"


@pytest.fixture(scope="module")
def running():
    """A server and its address."""
    services = FakeGrpc(FakeServing(fake_texts.answer, fake_texts.signatures()))
    with services.running() as address:
        yield services, address


@pytest.fixture
def services(running):
    """The server as new."""
    running[0].faults.clear()
    running[0].serving.most_rows = None
    running[0].specs.clear()
    return running[0]


@pytest.fixture
def connect(services, running):
    return lambda model="model", **options: GrpcClient(running[1], model, **options)


def test_what_is_generated(client):
    (first,) = client.generate("从前🙂", temperature=0, max_new_tokens=2, stop=["前\n", "x"])
    assert (first.text, first.finish_reason, first.token_texts) == ("🙂前", "length", ("🙂", "前"))
    assert [[one.text for one in best] for best in client.beam_search(["ab", "a"])] == [
        ["ba", "BA"],
        ["a"],
    ]
    assert [(status.version, status.state, status.error_code) for status in client.status()] == [
        (1, "AVAILABLE", "OK")
    ]


def test_a_version_may_be_chosen(connect, services, monkeypatch):
    monkeypatch.setattr(services.serving, "states", {3: "AVAILABLE", 7: "AVAILABLE"})
    with connect(version=3) as client:
        assert client.generate("ab")[0].text == "ba" and client.metadata().version == 3
        assert [status.version for status in client.status()] == [3]
    assert set(services.specs) == {("model", 3)}
    with connect() as client:
        assert list(client.stream("ab")) == ["ba"]
    assert services.specs[-1] == ("model", 7)


@pytest.mark.parametrize(
    ("code", "details", "error", "message"),
    [
        (
            "INVALID_ARGUMENT",
            "bad",
            errors.InvalidRequest,
            "refused the request (INVALID_ARGUMENT: bad);",
        ),
        (
            "PERMISSION_DENIED",
            "",
            errors.InvalidRequest,
            "the server refused the request (PERMISSION_DENIED); exp",
        ),
        (
            "NOT_FOUND",
            "none",
            errors.ModelNotFound,
            "the server has no such model (NOT_FOUND: none); expect",
        ),
        (
            "RESOURCE_EXHAUSTED",
            "OOM",
            errors.Overloaded,
            "the server is overloaded (RESOURCE_EXHAUSTED: OOM); expected room",
        ),
        (
            "DEADLINE_EXCEEDED",
            "late",
            errors.DeadlineExceeded,
            "the server gave up (DEADLINE_EXCEEDED: late); expected an",
        ),
        (
            "INTERNAL",
            "crash\nhere",
            errors.ServerError,
            "the server failed (INTERNAL: crash here); expected an a",
        ),
    ],
)
def test_errors_are_those_of_the_rest_client(
    client, services, pauses, code, details, error, message
):
    client.metadata()
    services.faults.append((code, details))
    with pytest.raises(error, match=re.escape(message)):
        client.generate("a")
    assert not pauses


def test_an_unavailable_server_is_asked_again(client, services, pauses):
    services.faults.extend([("UNAVAILABLE", FULL), ("UNAVAILABLE", "Socket closed")])
    assert client.generate("ab")[0].text == "ba" and len(pauses) == 2
    services.faults.append(("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted"))
    assert client.generate("ab")[0].text == "ba" and len(pauses) == 3
    services.faults.extend([("UNAVAILABLE", FULL)] * 4)
    with pytest.raises(
        errors.Overloaded,
        match=r"the server is overloaded \(UNAVAILABLE: The batch scheduling queue",
    ):
        client.generate("ab")


def test_a_call_that_the_server_refuses_as_too_large_is_split(client, services):
    services.serving.most_rows = 32
    prompts = [f"p{number}" for number in range(33)]
    completions = client.generate(prompts, max_new_tokens=9)
    assert [one.text for one in completions] == [prompt[::-1] for prompt in prompts]
    samples = client.generate(["ab", "cd"], num_samples=20, max_new_tokens=2)
    assert [(one.text, one.sample) for one in samples] == [
        (text, sample) for text in ("ba", "dc") for sample in range(20)
    ]


def test_a_request_refused_for_its_neighbor_is_repeated_once(client, services, pauses):
    client.metadata()
    details = "Tensors with name 'x' from different tasks have different shapes and padding is "
    fault = ("FAILED_PRECONDITION", details + "turned off.Set pad_variable_length_inputs to true")
    services.faults.append(fault)
    assert client.generate("ab")[0].text == "ba"
    services.faults.extend([fault, fault])
    with pytest.raises(errors.InvalidRequest, match="another client's request was in the same"):
        client.generate("ab")
    assert not pauses


def test_no_request_is_without_rows(client, services):
    client.metadata()
    before = len(services.specs)
    assert client.generate([]) == client.tokenize([]) == client.embed([]) == client.score([]) == []
    assert len(services.specs) == before


def test_a_server_that_comes_late_is_waited_for(services):
    with services.running() as address:
        pass
    with GrpcClient(address, "model", retries=0) as client:
        with pytest.raises(
            errors.ServerUnavailable,
            match=r"no connection \(failed to connect.*; expected a server there",
        ):
            client.generate("a")
        with services.running(int(address.rpartition(":")[2])):
            client.wait_until_ready()
            assert client.generate("ab")[0].text == "ba"


def test_the_deadline_holds(connect, services, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(
        services.serving, "answer", lambda *asked: over.wait(30) and fake_texts.answer(*asked)
    )
    with (
        connect() as client,
        pytest.raises(
            errors.DeadlineExceeded, match=r"/model: no answer within 0.5 s; expected one in"
        ),
    ):
        try:
            client.metadata()
            client.generate("a", timeout_s=0.5)
        finally:
            over.set()


def test_longer_answers_are_refused(connect):
    with connect(max_response_bytes=10_000) as client:
        client.score("a")
        with pytest.raises(
            errors.ServerError,
            match=r"the answer is too long \(.*; expected at most max_response_bytes",
        ):
            client.score("a" * 5000)


def test_an_address_has_no_path():
    with pytest.raises(
        errors.InvalidRequest,
        match=r"^address 'http://host:1/a': a path came; expected HOST:PORT, since",
    ):
        GrpcClient("http://host:1/a", "model")


def test_a_missing_package_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(
        ImportError,
        match=r"needs tensorflow-serving-api and grpcio \(.*\): pip install 'tf_textgen\[",
    ):
        importlib.reload(grpc_client)
