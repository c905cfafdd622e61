"""Limits, foreign hosts, metrics and the access log."""

import http.client
import json
import socket
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.served import DEADLINE_S, asking, serving, until

PREDICT = "/v1/models/toy:predict"
BODY = {"instances": ["x"]}


@pytest.fixture(scope="module")
def server(toy_root):
    with serving(toy_root, max_body_bytes=1000) as running:
        yield running


class Gate:
    """Keeps a server's graph from answering until it is opened."""

    def __init__(self, server):
        self.batcher = server.model.current.batcher
        self.run, self.event, self.entered = self.batcher._run, threading.Event(), threading.Event()
        self.batcher._run = self._held

    def _held(self, *asked):
        self.entered.set()
        assert self.event.wait(DEADLINE_S)
        return self.run(*asked)

    def open(self):
        self.event.set()


def in_thread(server, body=BODY, path=PREDICT):
    """A request that is waited for later: `result()` joins."""
    found = []

    def ask():
        with asking(server) as client:
            found.append(client.post(path, body))

    thread = threading.Thread(target=ask)
    thread.start()

    def result():
        thread.join(DEADLINE_S)
        return found[0]

    return result


def test_a_body_that_is_too_long_is_refused(server):
    for headers, body in (
        ({}, b"x" * 1001),
        ({"Transfer-Encoding": "chunked"}, iter([b"x" * 600] * 2)),
    ):
        connection = http.client.HTTPConnection(*address_of(server), timeout=DEADLINE_S)
        connection.request("POST", PREDICT, body, headers, encode_chunked=bool(headers))
        response = connection.getresponse()
        assert response.status == 413
        expected = {"error": "the body is too long: expected at most 1000 bytes (--max_body_bytes)"}
        assert json.loads(response.read()) == expected
        connection.close()


def address_of(server):
    host, _, port = server.url.removeprefix("http://").rstrip("/").partition(":")
    return host, int(port)


def test_a_body_that_is_only_announced_is_refused(server):
    with socket.create_connection(address_of(server), timeout=DEADLINE_S) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8501", "[::1]:8501"])
def test_this_machines_names_are_answered(client, host):
    assert client.get("/v1/models/toy", Host=host).code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a b"]
)
def test_other_hosts_names_are_refused(client, host):
    answer = client.get("/v1/models/toy", Host=host)
    assert answer.code == 403
    assert (
        answer.json["error"] == f"Host {host!r}: expected localhost; --host serves other machines"
    )


def test_pages_of_other_hosts_are_refused(server, client):
    own = server.url.rstrip("/")
    assert client.post(PREDICT, BODY, Origin=own).code == 200
    for origin in ("http://evil.example", "null", own + "1", "http://[::1"):
        answer = client.post(PREDICT, BODY, Origin=origin)
        assert (answer.code, answer.json["error"]) == (
            403,
            f"Origin {origin!r}: expected a page of this server",
        )


def test_any_name_is_answered_where_other_machines_may_ask(toy_root):
    with serving(toy_root, host="0.0.0.0") as server, asking(server) as client:
        assert client.get("/v1/models/toy", Host="serving.example").code == 200


def test_a_full_queue_and_too_many_requests_are_told(toy_root):
    with (
        serving(toy_root, max_queue_rows=1, max_requests=3, num_batch_threads=1) as server,
        asking(server) as client,
    ):
        gate = Gate(server)
        running = in_thread(server)
        assert gate.entered.wait(DEADLINE_S)
        waiting = in_thread(server)
        until(lambda: server.model.current.batcher.queued_rows)
        answer = client.post(PREDICT, BODY)
        assert (answer.code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["error"] == "overloaded: 1 rows wait already; try again later"
        assert "tf_textgen_queue_rows 1.0\n" in client.get("/metrics").text
        answer = client.post("/v1/completions", {"prompt": "x"})
        assert (answer.code, answer.json["error"]["type"]) == (503, "overloaded_error")
        with socket.create_connection(address_of(server)) as slow:  # a body that does not come
            slow.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".encode()
            )
            until(lambda: server._server.config.app._open == 3)
            answer = client.post(PREDICT, BODY)
            assert answer.json["error"] == "overloaded: 3 requests are open; try again later"
            assert client.get("/v1/models/toy").code == 200  # who only looks is answered
        gate.open()
        assert [running().code, waiting().code] == [200, 200]


def test_a_deadline_that_passes_is_told(toy_root):
    with serving(toy_root, deadline_s=0.05) as server, asking(server) as client:
        gate = Gate(server)
        answer = client.post(PREDICT, BODY)
        assert (answer.code, answer.json["error"]) == (
            504,
            "no answer within 0.05 seconds (--deadline_s)",
        )
        gate.open()
        until(lambda: client.post(PREDICT, BODY).code == 200)


def test_a_stream_that_its_reader_leaves_costs_nothing_more(toy_root):
    with serving(toy_root) as server, asking(server) as client:
        gate, version = Gate(server), server.model.current
        body = json.dumps({"prompt": "x", "max_tokens": 100, "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(address_of(server), timeout=DEADLINE_S) as connection:
            connection.sendall(head.encode() + body)
            assert gate.entered.wait(DEADLINE_S)
        until(
            lambda: not server._server.server_state.connections
        )  # the server has seen that it is closed
        gate.open()
        until(lambda: version.leases == 0)
        metrics = client.get("/metrics").text
    chunks = frozenset({("signature", "generate_chunk")})
    runs = samples(metrics)["tf_textgen_batch_rows_count", chunks]
    assert runs < 13  # of 8 tokens each


def test_a_bug_is_not_shown_to_who_asked(server, client, capfd):
    gate = Gate(server)
    gate.open()
    gate.run = lambda *_: 1 / 0
    answer = client.post(PREDICT, BODY)
    gate.batcher._run = server.model.current.loaded.run
    assert (answer.code, answer.json) == (
        500,
        {"error": "internal error; the server's log says more"},
    )
    assert "Traceback" not in answer.text


def test_what_the_graph_says_is_told_in_one_line(client):
    row = {
        "prompt": "fail",
        "max_new_tokens": 1,
        "seed": 0,
        "stop": "",
        "temperature": 0,
        "top_k": 0,
    }
    answer = client.post(PREDICT, {"signature_name": "generate", "instances": [row]})
    assert answer.code == 400
    assert "the prompt fails" in answer.json["error"] and "\n" not in answer.json["error"]


def samples(text):
    """The samples of an exposition: (name, labels) -> value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_requests_batches_and_tokens(toy_root):
    with serving(toy_root) as server, asking(server) as client:
        client.post(PREDICT, {"instances": ["x", "y"]})
        client.post(PREDICT, {"instances": 1})
        client.get("/no/such/path")
        client.post("/v1/completions", {"prompt": "x", "max_tokens": 4})
        client.post("/v1/completions", {"prompt": "x", "max_tokens": 9, "stream": True})
        answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(answer.text)
    predict = {"path": "predict", "signature": "serving_default"}
    for name, labels, value in (
        ("tf_textgen_requests_total", {**predict, "code": "200"}, 1),
        ("tf_textgen_requests_total", {**predict, "code": "400"}, 1),
        ("tf_textgen_requests_total", {"path": "other", "signature": "", "code": "404"}, 1),
        (
            "tf_textgen_request_duration_seconds_count",
            {"path": "completions", "signature": "generate"},
            1,
        ),
        ("tf_textgen_batch_rows_bucket", {"signature": "serving_default", "le": "2.0"}, 1),
        ("tf_textgen_batch_rows_count", {"signature": "generate_chunk"}, 2),
        ("tf_textgen_generated_tokens_total", {"signature": "generate"}, 4),
        ("tf_textgen_generated_tokens_total", {"signature": "generate_chunk"}, 9),
        ("tf_textgen_queue_rows", {}, 0),
        ("tf_textgen_model_version", {"model": "toy"}, 1),
    ):
        assert found[name, frozenset(labels.items())] == value


@pytest.mark.parametrize("log_texts", [False, True])
def test_the_access_log_has_texts_only_where_it_is_told_to(toy_root, capfd, log_texts):
    with serving(toy_root, log_texts=log_texts) as server, asking(server) as client:
        client.post("/v1/completions", {"prompt": "my secret", "seed": 0, "max_tokens": 2})
        client.post(
            "/v1/completions", {"prompt": "my secret", "seed": 0, "max_tokens": 9, "stream": True}
        )
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["path"], line["code"], line["tokens"], line["rows"]) for line in lines] == [
        ("/v1/completions", 200, 2, 1),
        ("/v1/completions", 200, 9, 2),
    ]
    assert ("my secret" in json.dumps(lines)) == log_texts
    assert [line.get("answers") for line in lines] == (
        [["ab"], ["abcdefghi"]] if log_texts else [None, None]
    )
