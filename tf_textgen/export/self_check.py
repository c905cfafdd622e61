"""Answers requests from a SavedModel with TensorFlow and tensorflow-text alone.

Run by its path in a fresh process it shows what a server will answer:

    python self_check.py EXPORTED_VERSION < requests.json > answers.json

`requests.json` is a list of `{"signature": name, "inputs": {name: list}}`, the answer a list of `{name: list}` in the
same order and, last, `{"python_ops": [...]}`: the ops that call back into Python and so fail in TF Serving.
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # registers the tokenizers' ops, as TF Serving does


def ask(loaded, signature_name, inputs):
    """One request to a loaded SavedModel: dict of lists in, dict of lists out."""
    signature = loaded.signatures[signature_name]
    specs = signature.structured_input_signature[1]
    tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
    return {name: _plain(value) for name, value in signature(**tensors).items()}


def input_names(loaded, signature_name):
    """The names of a signature's inputs."""
    return sorted(loaded.signatures[signature_name].structured_input_signature[1])


def python_ops(loaded):
    """The ops of all signatures that call back into Python."""
    graphs = [signature.graph.as_graph_def() for signature in loaded.signatures.values()]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return sorted({node.op for node in nodes if "PyFunc" in node.op})


def _plain(tensor):
    values = tensor.numpy()
    if values.dtype == object:
        flat = [text.decode("utf-8") for text in values.ravel()]
        return np.array(flat, dtype=object).reshape(values.shape).tolist()
    return values.tolist()


if __name__ == "__main__":
    exported = tf.saved_model.load(sys.argv[1])
    answers = [ask(exported, request["signature"], request["inputs"]) for request in json.load(sys.stdin)]
    json.dump([*answers, {"python_ops": python_ops(exported)}], sys.stdout)
