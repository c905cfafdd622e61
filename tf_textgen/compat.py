"""All workarounds for TensorFlow and Keras, and the only use of their private names.

Each entry names the problem, and the code to delete when it is fixed; a test fails on the day when
an entry is no longer needed. Does not import TensorFlow until an entry is used.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its messages on standard error; shows them if the import fails.

    TensorFlow 2.21 writes a dozen lines about oneDNN and missing CUDA drivers before it reads its
    log level (`TF_CPP_MIN_LOG_LEVEL`). `TF_TEXTGEN_VERBOSE=1` shows them. Delete this when
    `python -c "import tensorflow"` is silent at log level 2.
    """
    if "tensorflow" in sys.modules:
        return
    with quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
        # Keras would wrap our one-line messages in many lines about the arguments of the call.
        tf.keras.config.disable_traceback_filtering()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hides what C++ code writes to standard error, unless the block fails or `TF_TEXTGEN_VERBOSE`
    is set.

    The SentencePiece op of tensorflow-text 2.21 writes `normalizer.cc ... use identity
    normalization` whenever a model is loaded, at a log level that Python cannot change. Delete its
    use there when the op is silent.
    """
    if os.environ.get("TF_TEXTGEN_VERBOSE"):
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(stderr, 2)
            hidden.seek(0)
            sys.stderr.write(hidden.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def sentencepiece_op(model: bytes, name: str) -> Any:
    """Returns a `tensorflow_text.SentencepieceTokenizer` (int32 ids) that lives as long as the
    process.

    In tensorflow-text 2.21 its resource belongs to a cached kernel, which `tf.random.set_seed` and
    `keras.utils.clear_session` delete: every later use fails with `Resource ... does not exist` (a
    TODO in its source). With a shared name the resource belongs to the device instead. Equal models
    may share one, so `name` has to follow from the model. In a SavedModel, two ops with the same
    name would swap their models (tensorflow/text issue 1304). Delete this when the test of the
    plain op fails.

    Args:
      model: the serialized SentencePiece model.
      name: the name of the resource.
    """
    import tensorflow as tf
    from tensorflow_text.python.ops import sentencepiece_tokenizer as private

    class Resource(private._SentencepieceModelResource):
        def _create_resource(self) -> tf.Tensor:
            return private.gen_sentencepiece_tokenizer.sentencepiece_op(
                model=self._model, shared_name=self._name
            )

    with quiet_stderr():
        op = private.SentencepieceTokenizer(model, out_type=tf.int32, name=name)
        op._model_resource = Resource(model, name)
    return op


def fit_on_replicas(model: Any) -> None:
    """Prepares a built and compiled `keras.Model` for `fit` and `evaluate` on several replicas.

    Two properties of Keras 3.15 prevent them (keras-team/keras issue 20585), although the model
    makes its own train and test functions. `_maybe_symbolic_build` reduces a batch of several
    workers, and the features with it, to find shapes that a built model knows. The optimizer sums
    all gradients over the replicas, so gradients that were summed before, to be clipped, would
    cross the network twice.

    Delete the first when `fit` of a plain model runs on two workers, the second when
    `Optimizer.apply` accepts gradients that are already summed, as Keras 2 did
    (`skip_gradients_aggregation`).
    """
    optimizer = model.optimizer
    if not optimizer.built:
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)
    model._maybe_symbolic_build = lambda iterator=None, data_batch=None: None
    optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables


class SavedModelSession:
    """A SavedModel in a session, which is how TF Serving's C++ code loads and runs it.

    `tf.saved_model.load` makes Python functions of the graph, by other rules than a server's. In
    TensorFlow 2.21 only the interface of version 1 has sessions. Delete this when there is a public
    way to `tensorflow::LoadSavedModel`.

    Args:
      path: the version's folder.
      optimize: whether TensorFlow optimizes the graphs at the first request, as a server does; it
        takes seconds for each signature.

    Attributes:
      signatures: name -> `SignatureDef`.
    """

    def __init__(self, path: str, *, optimize: bool = True) -> None:
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = not optimize
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with self._session.graph.as_default(), quiet_stderr():
            meta_graph = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], path)
        self.signatures = dict(meta_graph.signature_def)

    def run(self, signature_name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one signature.

        Args:
          signature_name: the name of the signature.
          inputs: an array, or nested lists, for each input.

        Returns:
          An array for each output.
        """
        import numpy as np
        import tensorflow as tf

        signature = self.signatures[signature_name]
        feed = {}
        for name, values in inputs.items():
            tensor = signature.inputs[name]
            feed[tensor.name] = np.asarray(values, tf.dtypes.as_dtype(tensor.dtype).as_numpy_dtype)
        fetches = {name: tensor.name for name, tensor in signature.outputs.items()}
        return self._session.run(fetches, feed)


def is_registered(op: str) -> bool:
    """Returns whether TensorFlow, or a library that this process has loaded, has an op `op`.

    `tf.raw_ops` has no internal ops, and the ops of other libraries are listed nowhere. Delete this
    when TensorFlow has a public list.
    """
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op) is not None
