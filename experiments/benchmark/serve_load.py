"""What the local server does under load: right answers, throughput by batches, and memory.

    python experiments/benchmark/serve_load.py --saved_model=saved_models/quickstart

Three servers are started one after the other:
  1. Clients with mixed parameters for some seconds; each answer is compared with the one that its
    request got alone.
  2. The same clients with one request each, answered in batches, and one at a time
     (`--max_batch_size=1` and `--num_batch_threads=1`).
  3. Short requests, and the server's resident memory after 1,000 and after 10,000 of them.
Writes one JSON object to standard output. Linux alone, since it reads /proc.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

PROMPTS = ("The for statement", "A function", "If the", "", "The module provides ", "从前有一个")
SEPARATOR = "\x1f"


class Server(contextlib.AbstractContextManager):
    """`python -m tf_textgen serve` as a process, ended by SIGTERM."""

    def __init__(self, saved_model: str, *flags: str) -> None:
        command = [
            sys.executable,
            "-m",
            "tf_textgen",
            "serve",
            f"--saved_model={saved_model}",
            "--port=0",
            *flags,
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"version \d+ of (\S+) answers; .* (http://\S+)\n", line)
        if not found:
            self.process.kill()
            sys.exit(f"the server did not start: {line!r}")
        self.name, self.netloc = found[1], urlsplit(found[2]).netloc

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(60):
            sys.exit(f"the server ended with exit code {code}, expected 0")

    @property
    def resident_mib(self) -> float:
        """Memory that the process holds."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


class Client:
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._path = f"/v1/models/{server.name}:predict"
        self._connection = http.client.HTTPConnection(server.netloc, timeout=120)

    def ask(self, row: dict) -> tuple[int, dict]:
        """The code and the answer of one row of `generate`."""
        body = json.dumps({"signature_name": "generate", "instances": [row]}).encode()
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def rows(saved_model: str, number: int) -> list[dict]:
    """Different requests: each prompt with parameters of its own, drawn from a fixed seed."""
    newest = max(
        pathlib.Path(saved_model).glob("*/assets.extra/config.json"),
        key=lambda path: int(path.parts[-3]),
    )
    decoding = json.loads(newest.read_text("utf-8"))["decoding"]
    names = set(decoding) - {
        "beam_width",
        "num_best",
        "num_samples",
        "length_penalty",
        "length_penalty_alpha",
    }
    values = {
        name: SEPARATOR.join(v) if isinstance(v := decoding[name], list) else v for name in names
    }
    rng, found = random.Random(0), []
    for seed in range(number):
        own = {
            "temperature": rng.choice([0.0, 0.5, 1.0]),
            "top_p": rng.choice([0.8, 1.0]),
            "top_k": rng.choice([0, 40]),
        }
        own |= {"max_new_tokens": rng.choice([8, 16, 32, 60]), "stop": rng.choice(["", ".", "the"])}
        found.append({**values, **own, "seed": seed, "prompt": rng.choice(PROMPTS)})
    return found


def in_parallel(clients: int, work: Callable[[int], None]) -> float:
    """Runs `work` with the number of each client; the seconds it took."""
    threads = [threading.Thread(target=work, args=[number]) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def same(found: dict, alone: dict) -> bool:
    """Texts and counts to the letter, log-probabilities within 1e-4."""
    for name, value in alone.items():
        if name in ("score", "token_log_probabilities"):
            pairs = zip(
                *([x] if isinstance(x, float) else x for x in (found[name], value)), strict=True
            )
            if any(abs(one - other) > 1e-4 * max(1, abs(other)) for one, other in pairs):
                return False
        elif found[name] != value:
            return False
    return True


def correctness(arguments: argparse.Namespace) -> dict:
    """How many answers, and how many of them were wrong."""
    asked, counts = rows(arguments.saved_model, 40), collections.Counter[str]()
    with Server(arguments.saved_model) as server:
        single = Client(server)
        alone = [single.ask(row)[1]["predictions"][0] for row in asked]
        end = time.monotonic() + arguments.seconds

        def work(number: int) -> None:
            rng, client, own = random.Random(number), Client(server), collections.Counter[str]()
            while time.monotonic() < end:
                which = rng.randrange(len(asked))
                code, answer = client.ask(asked[which])
                right = code == 200 and same(answer["predictions"][0], alone[which])
                own["right" if right else "overload" if code == 503 else "wrong"] += 1
            counts.update(own)

        in_parallel(arguments.clients, work)
    return {
        "seconds": arguments.seconds,
        **{kind: counts[kind] for kind in ("right", "wrong", "overload")},
    }


def throughput(arguments: argparse.Namespace, *flags: str) -> float:
    """Requests answered a second, each client asking one after the other."""
    asked = rows(arguments.saved_model, arguments.clients)
    with Server(arguments.saved_model, *flags) as server:
        answered = collections.Counter[int]()
        end = time.monotonic() + arguments.seconds

        def work(number: int) -> None:
            client = Client(server)
            while time.monotonic() < end:
                code, _ = client.ask(asked[number])
                answered[number] += code == 200

        seconds = in_parallel(arguments.clients, work)
    return sum(answered.values()) / seconds


def memory(arguments: argparse.Namespace) -> dict:
    """MiB after the first tenth of the requests, and after all."""
    most, clients = arguments.requests, 16
    asked = [{**row, "max_new_tokens": 2} for row in rows(arguments.saved_model, 100)]
    with Server(arguments.saved_model) as server:

        def ask(number: int) -> None:
            client = Client(server)
            for which in range(number, count, clients):
                client.ask(asked[which % len(asked)])

        count = most // 10
        in_parallel(clients, ask)
        early = server.resident_mib
        count = most - most // 10
        in_parallel(clients, ask)
        late = server.resident_mib
    return {
        "requests": [most // 10, most],
        "mib": [round(early, 1), round(late, 1)],
        "growth": round(late / early - 1, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--saved_model", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args()
    record = {"clients": arguments.clients, "correctness": correctness(arguments)}
    batched, single = (
        throughput(arguments),
        throughput(arguments, "--max_batch_size=1", "--num_batch_threads=1"),
    )
    record["requests_per_second"] = {
        "batched": round(batched, 2),
        "one_at_a_time": round(single, 2),
    }
    record["speedup"] = round(batched / single, 2)
    record["memory"] = memory(arguments)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
