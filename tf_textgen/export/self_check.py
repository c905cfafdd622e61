"""Answers requests from a SavedModel as TF Serving does, with TensorFlow's and tensorflow-text's
ops alone.

Run in a fresh process it shows what a server will answer:

    python -m tf_textgen.export.self_check EXPORTED_VERSION < requests.json > answers.json

`requests.json` is a list of `{"signature": name, "inputs": {name: list}}`. The answer is
`{"foreign_ops": [...],
"answers": [...], "warm_up": number}`: the ops that TF Serving does not have (then nothing else is
done), a `{name: list}` for each request, and how many of the version's own warm-up requests were
replayed before them.
"""

import concurrent.futures
import json
import os
import sys

import tensorflow_text  # noqa: F401  # registers the tokenizers' ops, as TF Serving does

from tf_textgen.compat import SavedModelSession, is_registered
from tf_textgen.export.loaded_saved_model import plain, read_saved_model
from tf_textgen.export.prediction_log import REQUESTS_FILE, read_requests


def foreign_ops(path):
    """The ops of a SavedModel, in all of its functions, that are neither TensorFlow's nor
    tensorflow-text's.

    Those that call back into Python are not TF Serving's either.
    """
    graphs = [meta.graph_def for meta in read_saved_model(path).meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [
        node
        for graph in graphs
        for function in graph.library.function
        for node in function.node_def
    ]
    own = {function.signature.name for graph in graphs for function in graph.library.function}
    return sorted(
        op for op in {node.op for node in nodes} - own if "PyFunc" in op or not is_registered(op)
    )


def check(path, requests):
    """What this program answers."""
    found = {"foreign_ops": foreign_ops(path), "answers": [], "warm_up": 0}
    if found["foreign_ops"]:
        return found
    served = SavedModelSession(path)
    warm_up = list(read_requests(os.path.join(path, REQUESTS_FILE)))
    # A signature's first request takes seconds, in which TensorFlow makes its graph ready on one
    # core.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        names = sorted({name for name, _ in warm_up})
        list(
            threads.map(
                lambda name: [served.run(*request) for request in warm_up if request[0] == name],
                names,
            )
        )
    found["warm_up"] = len(warm_up)
    for request in requests:
        answer = served.run(request["signature"], request["inputs"])
        found["answers"].append({name: plain(values) for name, values in answer.items()})
    return found


if __name__ == "__main__":
    json.dump(check(sys.argv[1], json.load(sys.stdin)), sys.stdout)
