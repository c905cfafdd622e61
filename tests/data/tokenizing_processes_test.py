import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading

import pytest

from tests.support.data_files import write
from tests.support.tokenizing_work import DyingTokenizer
from tf_textgen.data import token_cache, tokenizing, tokenizing_processes, tokenizing_worker
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.tokenizing_processes import choose_processes, map_batches
from tf_textgen.errors import UserError


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    processes, popen = [], subprocess.Popen

    def start(*arguments, **options):
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return processes


@pytest.fixture
def workers_are_threads(monkeypatch):
    """Work is done by the threads that else look after processes."""

    class Worker:
        def __init__(self, work, count):
            self._work = pickle.loads(work)

        def run(self, batch):
            return self._work(batch)

        def kill(self):
            pass

        close = kill

    monkeypatch.setattr(tokenizing_processes, "_Worker", Worker)


def test_import_does_not_import_tensorflow():
    code = "import sys, tf_textgen.data.tokenizing_processes; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_how_many_processes(monkeypatch):
    monkeypatch.setattr(tokenizing_processes, "_num_cores", lambda: 4)
    assert [choose_processes(0, size) for size in (0, (64 << 20) - 1, 64 << 20, 1 << 40)] == [
        1,
        1,
        4,
        4,
    ]
    assert [choose_processes(asked, 0) for asked in (1, 3, 99)] == [1, 3, 99]
    monkeypatch.setattr(tokenizing_processes, "_num_cores", lambda: 96)
    assert choose_processes(0, 1 << 40) == 8


first_waits_for_second = threading.Barrier(2)


def _first_two_together(batch):
    if batch < 2:
        first_waits_for_second.wait(10)  # works on the second while the first is not done
    return -batch


def test_results_come_in_order_and_batches_are_read_as_they_are_needed(workers_are_threads):
    taken = []

    def batches():
        for batch in range(50):
            taken.append(batch)
            yield batch

    results = map_batches(_first_two_together, batches(), 2)
    for batch in range(50):
        assert next(results) == (batch, -batch)
        assert len(taken) <= batch + 4
    assert next(results, None) is None


def test_what_goes_wrong_is_one_line(workers_are_threads):
    with pytest.raises(ZeroDivisionError):
        list(map_batches(_reciprocal, [1, 2, 0, 3], 2))
    with pytest.raises(
        UserError,
        match=r"processes=2: cannot send the tokenizer to other processes \(.* or set 1$",
    ):
        list(map_batches(lambda batch: batch, [1], 2))


def test_processes_that_cannot_be_started(monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    message = r"processes=2: cannot start a process \(Resource temporarily unavailable\); use fewer"
    with pytest.raises(UserError, match=message):
        list(map_batches(_reciprocal, [1], 2))


def _reciprocal(number):
    if number < 0:
        raise UserError("a negative number: expected another")
    return 1 / number


def test_worker_answers_until_the_other_end_is_closed():
    ours, theirs = multiprocessing.Pipe()
    worker = threading.Thread(target=tokenizing_worker.serve, args=(theirs,))
    worker.start()
    answers = []
    for message in (_reciprocal, 4, 0, -1, 8):
        ours.send(message)
        answers.append(ours.recv())
    ours.send_bytes(b"no pickle")
    answers.append(ours.recv())
    ours.close()
    worker.join(10)
    assert not worker.is_alive()
    assert [result for result, _ in answers] == [None, 0.25, None, None, 0.125, None]
    lines = [failure.line for _, failure in answers if failure]
    assert lines[0] == (
        "tokenization failed (ZeroDivisionError: division by zero); --data.tokenizing_processes=1 "
        "--debug shows the stack trace"
    )
    assert lines[1] == "a negative number: expected another"
    assert "UnpicklingError" in lines[2]
    assert "in _reciprocal" in answers[2][1].trace


def test_interrupt_ends_all_processes(started):
    def batches():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_batches(_reciprocal, batches(), 2))
    assert len(started) == 2 and all(process.returncode is not None for process in started)


def test_death_of_a_process_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, started):
    monkeypatch.setattr(tokenizing, "_BATCH_TEXTS", 2)
    path = write(tmp_path / "a.txt", "abc\n\n" * 10 + "q\n\n" + "abc\n\n" * 10)
    config = DataConfig(train=(path,), cache_dir=str(tmp_path / "cache"), tokenizing_processes=2)
    message = r"^--data.tokenizing_processes=2: a process ended early \(SIGKILL\) before the text was tokenized; use fewer"
    with pytest.raises(UserError, match=message):
        token_cache.open_shards(config, DyingTokenizer(), "train")
    assert len(started) == 2 and all(process.returncode is not None for process in started)
    assert all(name.endswith(".lock") for name in os.listdir(config.cache_dir))


@pytest.mark.thorough
def test_processes_end_with_the_one_that_started_them():
    code = (
        "import json, time; from tests.support.tokenizing_work import surroundings\n"
        "from tf_textgen.data.tokenizing_processes import map_batches\n"
        "results = map_batches(surroundings, range(9), 2)\n"
        "print(json.dumps(next(results)[1]), flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        process.kill()
        process.communicate(timeout=300)  # they hold the other end of the pipe too
    assert json.loads(line) == {"leads_session": True, "threads": 1, "gpus": "-1"}
