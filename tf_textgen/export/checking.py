"""Whether an export answers as its generator does, asked of a session in a fresh process."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export.loaded_saved_model import plain
from tf_textgen.generator.signature import Signature
from tf_textgen.generator.stream_state import without_score

# Empty, one word, and longer than most contexts: each prompt shape must work in the one trace.
CHECK_PROMPTS = ("", "The", "Once upon a time", "从前有一个", "word " * 400)
_TOLERANCE = 1e-4  # of log-probabilities and the like, in the other order of a sum


def check_export(
    signatures: Mapping[str, Signature],
    path: pathlib.Path,
    decoding: DecodingConfig,
    prompts: Sequence[str],
) -> int:
    """Compares all that each signature answers with what its function answers here.

    Args:
      signatures: of the generator.
      path: the version's folder.
      decoding: parameters of the requests.
      prompts: texts of the requests.

    Returns:
      How many warm-up requests were replayed before.

    Raises:
      UserError: at the first difference, or where a server could not run the export.
    """
    asked = {
        name: signature.example_inputs(prompts, decoding) for name, signature in signatures.items()
    }
    requests = [{"signature": name, "inputs": inputs} for name, inputs in asked.items()]
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        answering = beside.submit(answer_in_fresh_process, path, requests)
        wanted = [_own_answer(signatures[name], inputs) for name, inputs in asked.items()]
        found = answering.result()
    if found["foreign_ops"]:
        raise UserError(
            "the export uses ops that TF Serving does not have "
            f"({', '.join(found['foreign_ops'])}): nothing was published"
        )
    for name, answer, expected in zip(asked, found["answers"], wanted, strict=True):
        for key, value in expected.items():
            got = answer[key]
            if (name, key) == ("generate_chunk", "state"):
                got, value = ([without_score(state) for state in states] for states in (got, value))
            _compare(f"{key} of {name}", prompts, got, value)
    return found["warm_up"]


def answer_in_fresh_process(
    path: str | os.PathLike[str], requests: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Answers `requests` from the SavedModel at `path` with `self_check`, which says what comes
    back.

    Args:
      path: a version's folder.
      requests: `{"signature": name, "inputs": {name: list}}` each.
    """
    package = str(pathlib.Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": paths,
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tf_textgen.export.self_check", str(path)],
        input=json.dumps(list(requests)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the export in {path} does not run in a fresh process: {last}")
    return json.loads(done.stdout)


def _own_answer(signature: Signature, inputs: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """What a signature's function answers in this process."""
    tensors = {
        name: tf.constant(inputs[name], spec.dtype) for name, spec in signature.inputs.items()
    }
    return {name: plain(value.numpy()) for name, value in signature.function(**tensors).items()}


def _compare(name: str, prompts: Sequence[str], got: list[Any], wanted: list[Any]) -> None:
    for prompt, one, other in zip(prompts, got, wanted, strict=True):
        numbers = np.asarray(other).dtype.kind == "f"
        same = np.shape(one) == np.shape(other) and (
            np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
            if numbers
            else one == other
        )
        if not same:
            raise UserError(
                f"the export gives {str(one)[:80]!r} as {name} for {prompt[:40]!r}, the run "
                f"{str(other)[:80]!r}: nothing was published"
            )
