"""Answers requests from a SavedModel with TensorFlow and tensorflow-text alone; run by its path in a fresh process.

    python self_check.py EXPORTED_VERSION < requests.json > answers.json

`requests.json` is a list of `{"signature": name, "inputs": {name: list}}`, the answer a list of `{name: list}` in the
same order and, last, `{"python_ops": [...]}`: the ops that call back into Python and so fail in TF Serving.
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # registers the tokenizers' ops, as TF Serving does


def answer(path, requests):
    loaded = tf.saved_model.load(path)
    answers = []
    for request in requests:
        signature = loaded.signatures[request["signature"]]
        specs = signature.structured_input_signature[1]
        inputs = {name: tf.constant(value, specs[name].dtype) for name, value in request["inputs"].items()}
        answers.append({name: _plain(value) for name, value in signature(**inputs).items()})
    return [*answers, {"python_ops": sorted(python_ops(loaded))}]


def python_ops(loaded):
    names = set()
    for signature in loaded.signatures.values():
        graph = signature.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        names.update(node.op for node in nodes if "PyFunc" in node.op)
    return names


def _plain(tensor):
    values = tensor.numpy()
    if values.dtype == object:
        return np.vectorize(lambda text: text.decode("utf-8"), otypes=[object])(values).tolist() if values.size else []
    return values.tolist()


if __name__ == "__main__":
    # Surrogates cannot occur: a text that is not valid UTF-8 fails in decode above.
    json.dump(answer(sys.argv[1], json.load(sys.stdin)), sys.stdout)
