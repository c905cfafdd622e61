"""The only home of workarounds for TensorFlow and Keras.

Each entry says what it works around and what to delete when that is mended; a test fails on the day it is no longer
needed. Importing this imports no TensorFlow.
"""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its greeting on standard error; if the import fails, what it wrote is shown.

    TensorFlow 2.21 writes a dozen lines about oneDNN and missing CUDA drivers before its log level
    (`TF_CPP_MIN_LOG_LEVEL`) is heeded, so that a job's own words drown. `TF_TEXTGEN_VERBOSE=1` lets them through.
    Delete this when `python -c "import tensorflow"` is silent at log level 2.
    """
    if "tensorflow" in sys.modules or os.environ.get("TF_TEXTGEN_VERBOSE"):
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            # Keras would wrap a one-line message of ours in many lines about the arguments of the call.
            tf.keras.config.disable_traceback_filtering()
        except BaseException:
            os.dup2(kept, 2)
            written.seek(0)
            sys.stderr.write(written.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
