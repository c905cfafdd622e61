"""The only home of workarounds for TensorFlow and Keras.

Each entry says what it works around and what to delete when that is mended; a test fails on the day
it is no longer needed. Importing this does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its greeting on standard error; if the import fails, what it wrote
    is shown.

    TensorFlow 2.21 writes a dozen lines about oneDNN and missing CUDA drivers before its log level
    (`TF_CPP_MIN_LOG_LEVEL`) is heeded, so that a job's own words drown. `TF_TEXTGEN_VERBOSE=1` lets
    them through. Delete this when `python -c "import tensorflow"` is silent at log level 2.
    """
    if "tensorflow" in sys.modules:
        return
    with quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
        # Keras would wrap a one-line message of ours in many lines about the arguments of the call.
        tf.keras.config.disable_traceback_filtering()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps back what C++ code writes to standard error, unless the block fails or
    `TF_TEXTGEN_VERBOSE` is set.

    The SentencePiece op of tensorflow-text 2.21 writes `normalizer.cc ... use identity
    normalization` whenever a model is loaded, at a log level that nothing in Python reaches. Delete
    its use there when the op is silent.
    """
    if os.environ.get("TF_TEXTGEN_VERBOSE"):
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            written.seek(0)
            sys.stderr.write(written.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def sentencepiece_op(model: bytes, name: str) -> Any:
    """A `tensorflow_text.SentencepieceTokenizer` (int32 ids) that lives as long as the process.

    That of tensorflow-text 2.21 belongs to a cached kernel, which `tf.random.set_seed` and
    `keras.utils.clear_session`
    throw away: every later use fails with `Resource ... does not exist` (its own source notes it as
    to be done). Under a shared name the resource belongs to the device instead; equal models may
    share one, so `name` has to follow from the model. In a SavedModel, two ops under one name would
    swap their models (tensorflow/text issue 1304). Delete this when the test of the plain op fails.

    Args:
      model: the serialized SentencePiece model.
      name: of the resource.
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
    """Lets `fit` and `evaluate` of a built and compiled `keras.Model` run under any strategy of
    several replicas.

    Two of Keras 3.15's habits are in the way (keras-team/keras issue 20585), if the model makes
    its own train and
    test functions: `_maybe_symbolic_build` reduces a batch of several workers, and the features
    with it, to find out about shapes that a built model knows; and its optimizer sums over the
    replicas whatever gradients it is given, so that what was summed before, to be clipped, would
    cross the network twice.

    Delete the first when `fit` of a plain model runs on two workers, the second when
    `Optimizer.apply` can be reported that gradients are summed already, as Keras 2 could
    (`skip_gradients_aggregation`).
    """
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
    model._maybe_symbolic_build = lambda iterator=None, data_batch=None: None
    model.optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: (
        gradients_and_variables
    )


class ServedModel:
    """A SavedModel as TF Serving's C++ runs it: loaded by its tag, asked by the tensors of its
    signatures.

    `tf.saved_model.load` makes Python functions again of the graph, by other rules than a server's.
    TensorFlow 2.21 has a session, which is what a server runs, in its first version's interface
    alone. Delete this when there is a public way to `tensorflow::LoadSavedModel`.

    Args:
      path: the version's folder.
      optimize: whether TensorFlow optimizes the graphs at first, as a server does: seconds for each
        signature.

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

    def ask(self, signature_name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """One request: arrays, or lists of what they would hold, in; arrays out."""
        import numpy as np
        import tensorflow as tf

        signature = self.signatures[signature_name]
        types = {
            name: tf.dtypes.as_dtype(info.dtype).as_numpy_dtype
            for name, info in signature.inputs.items()
        }
        feed = {
            signature.inputs[name].name: np.asarray(values, types[name])
            for name, values in inputs.items()
        }
        return self._session.run(
            {name: info.name for name, info in signature.outputs.items()}, feed
        )


def is_registered(op: str) -> bool:
    """Whether this process has an op of this name: TensorFlow's own, and those of the libraries it
    has loaded.

    `tf.raw_ops` lacks the internal ones, and those of other libraries are listed nowhere. Delete
    this when TensorFlow has a public list.
    """
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op) is not None
