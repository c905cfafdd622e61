"""Answers requests from a SavedModel as TF Serving does, with the ops of TensorFlow and
tensorflow-text only.

Run in a fresh process it shows the answers that a server will give:

    python -m tf_textgen.export.self_check EXPORTED_VERSION < requests.json > answers.json

`requests.json` is a list of `{"signature": name, "inputs": {name: list}}`. The answer is
`{"foreign_ops": [...], "answers": [...], "warm_up": number}`: the ops that TF Serving does not have
(then nothing else is done), `{name: list}` for each request, and the number of the version's own
warm-up requests that were replayed before them.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_text  # noqa: F401  # registers the tokenizers' ops, as TF Serving does

from tf_textgen.compat import SavedModelSession, is_registered
from tf_textgen.export.loaded_saved_model import read_saved_model, to_lists
from tf_textgen.export.prediction_log import REQUESTS_FILE, read_requests


def check(path: str, requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer of this program.

    Args:
      path: a version's folder.
      requests: as the module describes them.
    """
    foreign = foreign_ops(path)
    if foreign:
        return {"foreign_ops": foreign, "answers": [], "warm_up": 0}
    session = SavedModelSession(path)
    warm_up_count = _warm_up(session, path)
    answers = []
    for request in requests:
        outputs = session.run(request["signature"], request["inputs"])
        answers.append(to_lists(outputs))
    return {"foreign_ops": [], "answers": answers, "warm_up": warm_up_count}


def foreign_ops(path: str) -> list[str]:
    """The ops of a SavedModel that are neither TensorFlow's nor tensorflow-text's.

    All of its functions are read. Ops that call back into Python are not TF Serving's either.
    """
    used: set[str] = set()
    functions: set[str] = set()
    for meta_graph in read_saved_model(path).meta_graphs:
        graph = meta_graph.graph_def
        used.update(node.op for node in graph.node)
        for function in graph.library.function:
            used.update(node.op for node in function.node_def)
            functions.add(function.signature.name)
    return sorted(op for op in used - functions if "PyFunc" in op or not is_registered(op))


def _warm_up(session: SavedModelSession, path: str) -> int:
    """Replays the warm-up requests of a version, and returns their number."""
    requests: dict[str, list[dict[str, np.ndarray]]] = {}
    count = 0
    for name, inputs in read_requests(os.path.join(path, REQUESTS_FILE)):
        requests.setdefault(name, []).append(inputs)
        count += 1

    def replay(name: str) -> None:
        for inputs in requests[name]:
            session.run(name, inputs)

    # A signature's first request takes seconds, in which TensorFlow optimizes its graph on one
    # core.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(replay, sorted(requests)))
    return count


if __name__ == "__main__":
    json.dump(check(sys.argv[1], json.load(sys.stdin)), sys.stdout)
