"""Workers that are small programs, under a launcher in its own process: their output, and how all
of them end.

A worker holds a lock on a file as long as it lives, so that a test sees its death without process
numbers.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tf_textgen.distribution.launcher import cores_of_workers, tf_configs
from tf_textgen.errors import UserError

# Only a failing test takes so long.
DEADLINE_S = 60
LAUNCHER = """
import json, sys
from tf_textgen.distribution import launcher
command, config, launcher._CAUSE_S = map(json.loads, sys.argv[1:])
sys.exit(launcher.Launcher(command, launcher.LauncherConfig(**config)).run())
"""
# Every worker runs the same command, so it looks up its own program.
WORKER = """
import json, os, sys
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
os.environ["NUMBER"] = str(index)
exec(json.loads(sys.argv[1])[index])
"""
SAVES = """
import os, signal, sys, time
def save(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(0.2)  # in which a second request would end it
    os.write(1, b"saved\\n")  # print might be in the midst of "ready"
    os._exit(143)
signal.signal(signal.SIGTERM, save)
open("ready" + os.environ["NUMBER"], "w").close()
print("ready", flush=True)
time.sleep(600)
"""
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("ready" + os.environ["NUMBER"], "w").close()
print("ready", flush=True)
time.sleep(600)
"""
FAILS = "import sys; sys.exit('one\\nerror: no luck')"
LOST = "import sys; print('error: a worker was lost', file=sys.stderr); sys.exit(3)"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """The socket at which the programs of a test meet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(__file__).parents[2]))


def command(programs, cause_s=2.0, **config):
    worker = [sys.executable, "-I", "-S", "-c", WORKER, json.dumps(programs)]
    config = {"num_workers": len(programs), "grace_s": DEADLINE_S, **config}
    return [sys.executable, "-c", LAUNCHER, *map(json.dumps, (worker, config, cause_s))]


def once_ready(count: int, then: str) -> str:
    """A program that starts its work when so many others are ready."""
    waits = f"while len(glob.glob('ready*')) < {count}:\n    time.sleep(0.02)\n"
    return f"import glob, time\n{waits}{then}"


def launch(*programs, **options):
    """`(exit code, lines of standard output, lines of standard error)`."""
    done = subprocess.run(
        command(programs, **options),
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@contextlib.contextmanager
def launched(*programs, **options):
    """The launcher, once every worker is ready."""
    with subprocess.Popen(
        command(programs, **options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.start()
        try:
            for _ in programs:
                assert process.stdout.readline().endswith("ready\n")
            yield process
        finally:
            process.kill()
            timer.cancel()


def holding(path: pathlib.Path, then: str) -> str:
    """A program that has a lock on the file before it does anything else; its children
    inherit it.
    """
    return (
        f"import fcntl, os; held = os.open({str(path)!r}, os.O_CREAT | os.O_RDWR); "
        f"os.set_inheritable(held, True); fcntl.flock(held, fcntl.LOCK_EX)\n{then}"
    )


def wait_until_let_go(path: pathlib.Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    with path.open("r") as file:  # there since the program is ready
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, "lives on"
                time.sleep(0.02)


def test_all_lines_of_all_workers_in_their_order():
    count = 10_000
    program = (
        "import os, sys\n"
        f"for i in range({count}):\n"
        "    print(f'{i} 山' * (i % 3), file=sys.stderr if i % 5 == 0 else sys.stdout, flush=i % 7 "
        "== 0)"
    )
    code, *written = launch(*[program] * 4)
    assert code == 0
    for lines, kind in zip(written, (range(1, 5), range(1)), strict=True):
        for worker in range(4):
            prefix = f"[worker {worker}] "
            expected = [f"{i} 山" * (i % 3) for i in range(count) if i % 5 in kind]
            assert [
                line.removeprefix(prefix) for line in lines if line.startswith(prefix)
            ] == expected
        assert len(lines) == 4 * len(expected)


def test_last_lines_without_an_end():
    program = "import os; os.write(1, b'a\\nb' + os.environ['NUMBER'].encode())"
    code, lines, _ = launch(*[program] * 11)
    assert code == 0
    assert sorted(lines) == sorted(
        f"[worker {i}] {text}" for i in range(11) for text in ("a", f"b{i}")
    )


def test_a_worker_has_its_own_session_and_no_input():
    program = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"
    assert launch(program) == (0, ["[worker 0] True ''"], [])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the platform cannot pin")
def test_cores_are_a_workers_own_from_the_start():
    cores = sorted(os.sched_getaffinity(0))[:2]
    program = "import os; print(*os.sched_getaffinity(0))"
    code, lines, _ = launch(*[program] * len(cores), cores_per_worker=1)
    assert code == 0 and sorted(lines) == [f"[worker {i}] {core}" for i, core in enumerate(cores)]


def test_one_fails_and_the_others_save():
    code, lines, errors = launch(SAVES, once_ready(2, FAILS), SAVES)
    assert code == 1
    assert sorted(lines) == [f"[worker {i}] {word}" for i in (0, 2) for word in ("ready", "saved")]
    assert errors[:2] == ["[worker 1] one", "[worker 1] error: no luck"]
    assert errors[-1] == "error: worker 1 of 3 failed first, by exit code 1"
    assert (
        "worker 1 failed by exit code 1: the others save and stop, and are killed after 60 s"
        in errors[-2]
    )


def test_a_signal_is_a_failure():
    code, _, errors = launch("import os; os.kill(os.getpid(), 9)", SAVES)
    assert code == 137
    assert errors[-1] == "error: worker 0 of 2 failed first, by signal 9 (Killed)"


def test_a_worker_stopped_by_another_is_a_failure():
    code, _, errors = launch(SAVES, "import sys; sys.exit(143)")
    assert (code, errors[-1]) == (143, "error: worker 1 of 2 failed first, by exit code 143")


def test_who_only_lost_a_peer_did_not_fail_first():
    late = (
        "import sys, time; time.sleep(0.5); print('error: the reason', file=sys.stderr); "
        "sys.exit(7)"
    )
    code, _, errors = launch(LOST, late, LOST, cause_s=DEADLINE_S)
    assert "[worker 1] error: the reason" in errors
    assert (code, errors[-1]) == (7, "error: worker 1 of 3 failed first, by exit code 7")


def test_a_lost_peer_is_told_where_nothing_else_is_known():
    code, lines, errors = launch(SAVES, once_ready(1, LOST), cause_s=0.3)
    assert code == 3 and "[worker 0] saved" in lines
    assert errors[-1] == "error: worker 1 of 2 failed first, by exit code 3"


def test_who_does_not_stop_is_killed_after_the_grace_time(tmp_path):
    start = time.monotonic()
    code, _, errors = launch(holding(tmp_path / "lock", DEAF), once_ready(1, FAILS), grace_s=0.3)
    assert time.monotonic() - start < DEADLINE_S / 2
    assert code == 1 and errors[-1] == "error: worker 1 of 2 failed first, by exit code 1"
    wait_until_let_go(tmp_path / "lock")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_all_save(number, code):
    with launched(SAVES, SAVES) as process:
        process.send_signal(number)
        out, err = process.communicate()
        assert process.returncode == code
        assert sorted(out.splitlines()) == ["[worker 0] saved", "[worker 1] saved"]
        assert err.splitlines() == [
            f"note: {number.name}: the workers save and stop; a second signal kills them"
        ]


def test_a_second_signal_kills(tmp_path):
    with launched(holding(tmp_path / "lock", DEAF), SAVES) as process:
        process.send_signal(signal.SIGINT)
        assert "the workers save and stop" in process.stderr.readline()
        assert process.stdout.readline() == "[worker 1] saved\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "note: SIGINT: the workers are killed\n"
        assert process.wait(DEADLINE_S) == 130
        wait_until_let_go(tmp_path / "lock")


def test_who_cannot_save_fails():
    fails = SAVES.replace("143", "2").replace("sleep(0.2)", "sleep(0)")
    with launched(SAVES.replace("sleep(0.2)", "sleep(0.5)"), fails) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert (
            process.returncode == 2 and "[worker 0] saved" in out
        )  # it was not asked a second time
        assert err.splitlines()[-1] == "error: worker 1 of 2 failed first, by exit code 2"


def test_who_is_done_when_the_signal_comes_is_done():
    done = SAVES.replace("143", "0")
    with launched(done, done) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the parent's death")
def test_nobody_outlives_a_killed_launcher(tmp_path):
    paths = [tmp_path / "0", tmp_path / "1"]
    with launched(*(holding(path, DEAF) for path in paths)) as process:
        for path in paths:
            with path.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
        for path in paths:
            wait_until_let_go(path)


def test_nobody_outlives_the_reader_of_the_output(tmp_path):
    chatty = DEAF.replace("time.sleep(600)", "\nwhile True: print('and so on', flush=True)")
    with launched(holding(tmp_path / "lock", chatty)) as process:
        process.stdout.close()
        assert process.wait(DEADLINE_S) != 0 and "BrokenPipeError" in process.stderr.read()
        wait_until_let_go(tmp_path / "lock")


@pytest.mark.parametrize("ends", [0, 5])
def test_what_a_worker_started_ends_with_it(tmp_path, ends):
    starts = (
        "import subprocess, sys\n"
        "subprocess.Popen(['sleep', '600'], close_fds=False)\n"
        f"sys.exit({ends})"
    )
    assert launch(holding(tmp_path / "lock", starts))[0] == ends
    wait_until_let_go(tmp_path / "lock")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the parent's death")
def test_a_worker_whose_launcher_ended_before_it_began(tmp_path):
    made = tmp_path / "made"
    program = (
        "import os, sys\n"
        "from tf_textgen.distribution import launcher\n"
        "launcher._become_worker(os.getppid() + 1, [])\n"
        f"open({str(made)!r}, 'w').close()"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 1 and not made.exists()


@pytest.mark.parametrize("count", [1, 64])
def test_workers_of_one_cluster(count):
    configs = [json.loads(config) for config in tf_configs(count)]
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": i} for i in range(count)
    ]
    (addresses,) = {tuple(config["cluster"]["worker"]) for config in configs}
    assert len(set(addresses)) == count and set(configs[0]["cluster"]) == {"worker"}
    assert all(
        host == "127.0.0.1" and 1024 <= int(port) < 65536
        for host, port in (a.split(":") for a in addresses)
    )


def test_no_port_is_left_occupied():
    """By this process: each is either free or was taken by another one since."""
    for config in tf_configs(8)[:1]:
        for address in json.loads(config)["cluster"]["worker"]:
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))) != 0


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 3, 4, 5, 8}, raising=False)
    assert cores_of_workers(2, 2) == [[3, 4], [5, 8]]
    assert cores_of_workers(5, 1) == [[3], [4], [5], [8], [9]]
    assert cores_of_workers(3, 0) == [[], [], []]
    with pytest.raises(
        UserError,
        match="2 workers would need 6 cores, and only 5 are available; expected at most 2",
    ):
        cores_of_workers(2, 3)


def test_a_platform_that_cannot_pin(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(
        UserError,
        match="--cores_per_worker=1: this platform cannot pin processes to cores; expected",
    ):
        cores_of_workers(2, 1)
    assert cores_of_workers(2, 0) == [[], []]
