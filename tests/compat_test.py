"""Each workaround works, and is still needed."""

import inspect
import os
import subprocess
import sys

import keras
import pytest

from tf_textgen.distribution.launcher import tf_configs
from tf_textgen.text import TokenizerConfig, build_tokenizer


def _stderr(code: str) -> str:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return done.stderr


def test_tensorflow_is_imported_quietly():
    assert (
        _stderr(
            "from tf_textgen.compat import import_tensorflow_quietly as f; f(); import tensorflow"
        )
        == ""
    )


@pytest.mark.thorough
def test_tensorflow_itself_is_not_quiet_yet():
    assert _stderr("import tensorflow as tf; tf.config.list_physical_devices()") != ""


def test_a_failing_import_is_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import sys; sys.stderr.write('why it fails\\n'); raise ImportError('no')"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from tf_textgen.compat import import_tensorflow_quietly as f\n"
        "try: f()\nexcept ImportError: pass"
    )
    assert _stderr(code) == "why it fails\n"


@pytest.fixture(scope="module")
def load_model(tmp_path_factory):
    """Code that loads a SentencePiece model with what `{}` says."""
    path = tmp_path_factory.mktemp("sentencepiece") / "model"
    text = "the quick brown fox jumps over the lazy dog while it rains and the sun shines on " * 3
    tokenizer = build_tokenizer(TokenizerConfig(vocabulary_size=290, algorithm="bpe"), [text])
    path.write_bytes(tokenizer.files()["sentencepiece.model"])
    return (
        "from tf_textgen.compat import import_tensorflow_quietly as f; f(); import "
        "tensorflow_text\nfrom tf_textgen.text.sentencepiece import SentencePieceTokenizer\n"
        f"model = open({str(path)!r}, 'rb').read()\n"
        "{}(model)"
    )


def test_sentencepiece_is_loaded_quietly(load_model):
    assert _stderr(load_model.format("SentencePieceTokenizer")) == ""


@pytest.mark.thorough
def test_sentencepiece_itself_is_not_quiet_yet(load_model):
    assert "identity" in _stderr(load_model.format("tensorflow_text.SentencepieceTokenizer"))


@pytest.mark.thorough
def test_sentencepiece_itself_does_not_outlive_its_kernel_yet(load_model):
    code = load_model.format("op = tensorflow_text.SentencepieceTokenizer") + (
        "\nimport sys, tensorflow as tf; tf.random.set_seed(1)\n"
        "try: op.tokenize(['a'])\nexcept tf.errors.NotFoundError: sys.stderr.write('lost')"
    )
    assert _stderr(code).endswith("lost")


_PLAIN_FIT = """
import os, keras, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
try:
    model.fit(tf.data.Dataset.from_tensors((tf.ones([2, 2]), tf.ones([2, 1]))).repeat(2), verbose=0)
except Exception as error:
    print("fit failed", type(error).__name__, flush=True)
    os._exit(0)
print("fit works", flush=True)
"""


@pytest.mark.thorough
def test_keras_itself_does_not_fit_over_two_workers_yet():
    environments = [{**os.environ, "TF_CONFIG": config} for config in tf_configs(2)]
    command = [sys.executable, "-c", _PLAIN_FIT]
    processes = [
        subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True)
        for own in environments
    ]
    try:
        said = [process.communicate(timeout=90)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert any("fit failed" in text for text in said), said
    assert not any("fit works" in text for text in said), said


def test_an_optimizer_of_keras_cannot_be_told_yet_that_gradients_are_summed():
    parameters = inspect.signature(keras.optimizers.Optimizer.apply).parameters
    assert list(parameters) == ["self", "grads", "trainable_variables"]


def test_sessions_and_the_list_of_ops_are_not_public_yet():
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    from tf_textgen.compat import is_registered

    assert not hasattr(tf, "Session") and not hasattr(tf.raw_ops, "SentencepieceTokenizeOp")
    assert is_registered("SentencepieceTokenizeOp") and not is_registered("MadeUpOp")
