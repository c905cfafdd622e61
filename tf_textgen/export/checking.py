"""Compares the answers of an export, given by a session in a fresh process, with its generator."""

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
from tf_textgen.export.loaded_saved_model import to_lists
from tf_textgen.generator.signature import Inputs, Signature
from tf_textgen.generator.stream_state import without_score

# Empty, one word, and longer than most contexts: each prompt shape must work in the one trace.
CHECK_PROMPTS = ("", "The", "Once upon a time", "从前有一个", "word " * 400)
# Sums in another order differ in their last digits.
_TOLERANCE = 1e-4


def check_export(
    signatures: Mapping[str, Signature],
    path: pathlib.Path,
    decoding: DecodingConfig,
    prompts: Sequence[str],
) -> int:
    """Compares every output of each signature with its function in this process.

    Args:
      signatures: of the generator.
      path: the version's folder.
      decoding: parameters of the requests.
      prompts: texts of the requests.

    Returns:
      Number of warm-up requests that were replayed before.

    Raises:
      UserError: at the first difference, or if a server could not run the export.
    """
    requests: list[dict[str, Any]] = []
    for name, signature in signatures.items():
        inputs = signature.example_inputs(prompts, decoding)
        requests.append({"signature": name, "inputs": inputs})
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        pending = executor.submit(answer_in_fresh_process, path, requests)
        expected = [_own_answer(signatures[one["signature"]], one["inputs"]) for one in requests]
        found = pending.result()
    if found["foreign_ops"]:
        raise UserError(
            "the export uses ops that TF Serving does not have "
            f"({', '.join(found['foreign_ops'])}): nothing was published"
        )
    for name, answer, own in zip(signatures, found["answers"], expected, strict=True):
        _compare(name, prompts, answer, own)
    return found["warm_up"]


def answer_in_fresh_process(
    path: str | os.PathLike[str], requests: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Runs `self_check`, which describes requests and answers.

    Args:
      path: a version's folder.
      requests: `{"signature": name, "inputs": {name: list}}` each.
    """
    python_path = str(pathlib.Path(__file__).resolve().parents[2])
    if os.environ.get("PYTHONPATH"):
        python_path += os.pathsep + os.environ["PYTHONPATH"]
    environment = {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": python_path,
        "PYTHONIOENCODING": "utf-8",
    }
    process = subprocess.run(
        [sys.executable, "-m", "tf_textgen.export.self_check", str(path)],
        input=json.dumps(list(requests)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"the export in {path} does not run in a fresh process: {lines[-1]}")
    return json.loads(process.stdout)


def _own_answer(signature: Signature, inputs: Inputs) -> dict[str, list[Any]]:
    """The answer of a signature's function in this process."""
    tensors = {}
    for name, spec in signature.inputs.items():
        tensors[name] = tf.constant(inputs[name], spec.dtype)
    outputs = signature.function(**tensors)
    return to_lists(outputs)


def _compare(
    signature_name: str,
    prompts: Sequence[str],
    found: Mapping[str, list[Any]],
    expected: Mapping[str, list[Any]],
) -> None:
    """Raises `UserError` if an answer differs."""
    for name in expected:
        for prompt, one, other in zip(prompts, found[name], expected[name], strict=True):
            if not _same(signature_name, name, one, other):
                raise UserError(
                    f"the export gives {str(one)[:80]!r} as {name} of {signature_name} for "
                    f"{prompt[:40]!r}, the run {str(other)[:80]!r}: nothing was published"
                )


def _same(signature_name: str, name: str, found: Any, expected: Any) -> bool:
    """Whether a row of an output is the same, numbers within a tolerance."""
    if (signature_name, name) == ("generate_chunk", "state"):
        return without_score(found) == without_score(expected)
    if np.asarray(expected).dtype.kind != "f":
        return found == expected
    return np.shape(found) == np.shape(expected) and np.allclose(
        found, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
    )
