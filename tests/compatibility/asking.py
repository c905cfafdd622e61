"""What the frozen artefacts are asked: by jobs, over a local server, by Keras.

The script which made them and the test which checks them both use this module. It knows the
command line and public names of the package alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import tf_textgen
from tf_textgen.__main__ import main

LOGIT_DIGITS = 6


def run(arguments: Sequence[str]) -> str:
    """Runs a job in this process and returns what it writes to standard output."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        code = main([str(argument) for argument in arguments])
    assert code == 0, f"{' '.join(arguments)}: exit code {code}, output {written.getvalue()[-500:]}"
    return written.getvalue()


def answer(arguments: Sequence[str]) -> list[Any]:
    """Runs a job with `--json` and returns the values of its lines."""
    return [json.loads(line) for line in run([*arguments, "--json"]).splitlines()]


@contextlib.contextmanager
def serving(saved_model: str | pathlib.Path) -> Iterator[str]:
    """The address of a local server, a process of the job `serve`, until the block ends."""
    command = [sys.executable, "-m", "tf_textgen", "serve", f"--saved_model={saved_model}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--port=0"], text=True, env=environment, **pipes) as process:
        try:
            first = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://[^\s/]+", first)
            assert found, f"serve says {first!r} in place of an address"
            yield found[0]
        finally:
            process.terminate()
            process.communicate()


def ask(url: str, model: str, requests: Sequence[dict[str, Any]]) -> list[Any]:
    """What the client gives for each of `requests`, each `{"method": name, "arguments": {}}`."""
    client_class = getattr(tf_textgen, "TextClient", None) or tf_textgen.Client
    with client_class(url, model) as client:
        client.wait_until_ready()
        return [
            plain(getattr(client, one["method"])(**one["arguments"]))
            if one["method"] != "stream"
            else "".join(client.stream(**one["arguments"]))
            for one in requests
        ]


def plain(value: Any) -> Any:
    """Dataclasses and tuples as the objects and lists of JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def keras_answer(path: str | pathlib.Path, features: dict[str, Any]) -> dict[str, Any]:
    """Loads a `.keras` file and returns some of the model's logits and what its optimizer is.

    Every public name is imported before. Keras finds a class by its registered name only when the
    module of the class has been imported.
    """
    for name in tf_textgen.__all__:
        getattr(tf_textgen, name)
    import keras
    import numpy as np
    import tensorflow as tf

    model = keras.saving.load_model(path)
    logits = model({name: tf.constant(rows, tf.int32) for name, rows in features.items()})
    found = {"logits": np.round(np.asarray(logits)[:, :, ::4], LOGIT_DIGITS).tolist()}
    if (optimizer := getattr(model, "optimizer", None)) is not None:
        optimizer.iterations.assign(5)
        found["optimizer"] = {
            "registered_name": keras.saving.get_registered_name(type(optimizer)),
            "learning_rate": float(optimizer.learning_rate),
            "variables": len(optimizer.variables),
        }
    return found
