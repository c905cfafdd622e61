"""Requests joined and taken apart again, without TensorFlow."""

import threading
import time

import numpy as np
import pytest

from tests.server.served import until
from tf_textgen.server.batching import Batcher, cut_padding
from tf_textgen.server.request_error import RequestError


class Doubling:
    """Doubles each row's number; notes the rows of each run, and may be held."""

    def __init__(self):
        self.runs = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, signature, inputs):
        self.runs.append((signature, inputs["x"].tolist()))
        assert self.gate.wait(60)
        if (inputs["x"] < 0).any():
            raise RequestError(400, "negative")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def doubling():
    return Doubling()


@pytest.fixture
def batcher(doubling):
    made = Batcher(doubling, max_batch_size=4, batch_timeout_s=0.0, max_queue_rows=6)
    yield made
    doubling.gate.set()
    made.close()


def numbers(*values):
    return {"x": np.array(values)}


def held(batcher, doubling):
    """Keeps the thread busy, so that what comes next waits together."""
    doubling.gate.clear()
    first = batcher.submit("s", numbers(100))
    until(lambda: doubling.runs)
    return first


def test_what_waits_is_joined_in_order_up_to_the_largest_batch(batcher, doubling):
    held(batcher, doubling)
    futures = [batcher.submit("s", numbers(*values)) for values in ([1, 2], [3], [4, 5], [6])]
    doubling.gate.set()
    assert [future.result(60)["y"].tolist() for future in futures] == [[2, 4], [6], [8, 10], [12]]
    assert doubling.runs[1:] == [("s", [1, 2, 3, 6]), ("s", [4, 5])]


def test_signatures_and_shapes_of_rows_are_not_mixed(batcher, doubling):
    held(batcher, doubling)
    wide = {"x": np.array([[7, 8]])}
    futures = [
        batcher.submit("s", numbers(1)),
        batcher.submit("t", numbers(2)),
        batcher.submit("s", wide),
    ]
    futures.append(batcher.submit("s", numbers(3)))
    doubling.gate.set()
    assert [future.result(60)["y"].tolist() for future in futures] == [[2], [4], [[14, 16]], [6]]
    assert doubling.runs[1:] == [("s", [1, 3]), ("t", [2]), ("s", [[7, 8]])]


def test_a_request_that_fails_takes_no_other_with_it(batcher, doubling):
    held(batcher, doubling)
    futures = [batcher.submit("s", numbers(value)) for value in (1, -1, 2)]
    doubling.gate.set()
    assert [futures[0].result(60)["y"].tolist(), futures[2].result(60)["y"].tolist()] == [[2], [4]]
    with pytest.raises(RequestError, match="negative"):
        futures[1].result(60)
    assert batcher.submit("s", numbers(3)).result(60)["y"].tolist() == [6]


def test_a_cancelled_request_is_not_run(batcher, doubling):
    held(batcher, doubling)
    gone, kept = batcher.submit("s", numbers(1)), batcher.submit("s", numbers(2))
    assert gone.cancel()
    doubling.gate.set()
    assert kept.result(60)["y"].tolist() == [4]
    assert doubling.runs[1:] == [("s", [2])]


def test_too_many_rows_are_refused(batcher, doubling):
    with pytest.raises(
        RequestError, match=r"5 rows came: expected at most 4 \(--max_batch_size\)"
    ) as caught:
        batcher.submit("s", numbers(1, 2, 3, 4, 5))
    assert caught.value.code == 400
    held(batcher, doubling)
    waiting = [batcher.submit("s", numbers(1, 2, 3)) for _ in range(2)]
    assert batcher.queued_rows == 6
    with pytest.raises(
        RequestError, match="overloaded: 6 rows wait already; try again later"
    ) as caught:
        batcher.submit("s", numbers(1))
    assert (caught.value.code, caught.value.headers) == (503, {"Retry-After": "1"})
    doubling.gate.set()
    assert [future.result(60)["y"].tolist() for future in waiting] == [[2, 4, 6]] * 2


def test_a_row_waits_for_others_and_not_longer():
    doubling = Doubling()
    patient = Batcher(doubling, max_batch_size=2, batch_timeout_s=3600.0, max_queue_rows=6)
    futures = [patient.submit("s", numbers(value)) for value in (1, 2)]
    assert [future.result(60)["y"].tolist() for future in futures] == [
        [2],
        [4],
    ]  # full, so it does not wait an hour
    assert doubling.runs == [("s", [1, 2])]
    last = patient.submit("s", numbers(3))
    patient.close()  # nor when there is nobody to wait for
    assert last.result(0)["y"].tolist() == [6]
    short = Batcher(doubling, max_batch_size=2, batch_timeout_s=0.05, max_queue_rows=6)
    begun = time.monotonic()
    short.submit("s", numbers(4)).result(60)
    assert time.monotonic() - begun >= 0.05
    short.close()


def test_a_closed_batcher_refuses(batcher):
    batcher.close()
    with pytest.raises(RequestError, match="shutting down") as caught:
        batcher.submit("s", numbers(1))
    assert caught.value.code == 503


def test_runs_are_counted(doubling):
    seen = []
    batcher = Batcher(
        doubling,
        max_batch_size=4,
        batch_timeout_s=0,
        max_queue_rows=6,
        on_batch=lambda *run: seen.append(run),
    )
    batcher.submit("s", numbers(1, 2)).result(60)
    batcher.close()
    assert seen == [("s", 2)]


def test_padding_of_others_is_cut():
    texts = np.array([[b"a", b"b", b""], [b"c", b"", b""]], object)
    row = {
        "token_count": np.array([2, 1]),
        "token_texts": texts,
        "token_other": np.zeros(2),
        "embedding": np.ones(5),
    }
    cut = cut_padding(row)
    assert cut["token_texts"].tolist() == [[b"a", b"b"], [b"c", b""]]
    assert (cut["token_other"].shape, cut["embedding"].shape) == ((2,), (5,))
    beams = {"token_count": np.array([[1, 0]]), "token_texts": np.zeros([1, 2, 4])}
    assert cut_padding(beams)["token_texts"].shape == (1, 2, 1)
    none = {"token_count": np.zeros([0], int), "token_texts": np.zeros([0, 3])}
    assert cut_padding(none)["token_texts"].shape == (0, 0)
    assert cut_padding({"text": texts}) == {"text": texts}


def test_long_texts_do_not_hold_up_short_ones(batcher, doubling):
    held(batcher, doubling)
    wanted = {1: 8, 2: 60, 3: 9, 4: 33}
    for x, length in wanted.items():
        future = batcher.submit("s", {**numbers(x), "max_new_tokens": np.array([length])})
    chunk = {"max_new_tokens": np.array([8]), "chunk_tokens": np.array([40])}
    batcher.submit("s", {**numbers(5), **chunk})
    doubling.gate.set()
    assert future.result(60)["y"].tolist() == [8]
    batcher.close()
    assert [sorted(x) for _, x in doubling.runs[1:]] == [[1, 3], [2, 4], [5]]


def test_threads_answer_batches_at_the_same_time_and_each_row_once():
    doubling = Doubling()
    several = Batcher(
        doubling, max_batch_size=1, batch_timeout_s=0.0, max_queue_rows=6, num_threads=2
    )
    doubling.gate.clear()
    futures = [several.submit("s", numbers(value)) for value in (1, 2, 3)]
    until(lambda: len(doubling.runs) == 2)
    doubling.gate.set()
    assert [future.result(60)["y"].tolist() for future in futures] == [[2], [4], [6]]
    several.close()
    assert sorted(x for _, (x,) in doubling.runs) == [1, 2, 3]
