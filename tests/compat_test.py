"""Each workaround works, and is still needed."""

import os
import subprocess
import sys

import pytest

from tf_textgen.text import TokenizerConfig, build_tokenizer


def _stderr(code: str) -> str:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stderr


def test_tensorflow_is_imported_quietly():
    assert _stderr("from tf_textgen.compat import import_tensorflow_quietly as f; f(); import tensorflow") == ""


def test_tensorflow_itself_is_not_quiet_yet():
    assert _stderr("import tensorflow as tf; tf.config.list_physical_devices()") != ""


def test_a_failing_import_is_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text("import sys; sys.stderr.write('why it fails\\n'); raise ImportError('no')")
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
        "from tf_textgen.compat import import_tensorflow_quietly as f; f(); import tensorflow_text\n"
        "from tf_textgen.text.sentencepiece import SentencePieceTokenizer\n"
        f"model = open({str(path)!r}, 'rb').read()\n"
        "{}(model)"
    )


def test_sentencepiece_is_loaded_quietly(load_model):
    assert _stderr(load_model.format("SentencePieceTokenizer")) == ""


def test_sentencepiece_itself_is_not_quiet_yet(load_model):
    assert "identity" in _stderr(load_model.format("tensorflow_text.SentencepieceTokenizer"))


def test_sentencepiece_itself_does_not_outlive_its_kernel_yet(load_model):
    code = load_model.format("op = tensorflow_text.SentencepieceTokenizer") + (
        "\nimport sys, tensorflow as tf; tf.random.set_seed(1)\n"
        "try: op.tokenize(['a'])\nexcept tf.errors.NotFoundError: sys.stderr.write('lost')"
    )
    assert _stderr(code).endswith("lost")


def test_sessions_and_the_list_of_ops_are_not_public_yet():
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    from tf_textgen.compat import is_registered

    assert not hasattr(tf, "Session") and not hasattr(tf.raw_ops, "SentencepieceTokenizeOp")
    assert is_registered("SentencepieceTokenizeOp") and not is_registered("MadeUpOp")
