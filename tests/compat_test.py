"""Each workaround works, and is still needed."""

import os
import subprocess
import sys


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
