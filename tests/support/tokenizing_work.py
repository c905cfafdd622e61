"""What tests have other processes do."""

from __future__ import annotations

import os
import signal
from typing import Any

from tf_textgen.text.bytes import ByteTokenizer


def surroundings(_: object) -> dict[str, Any]:
    """What the process that tokenizes has to itself."""
    import tensorflow as tf

    return {
        "leads_session": os.getsid(0) == os.getpid(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
    }


class DyingTokenizer(ByteTokenizer):
    """Ends its process as a lack of memory would, at a text with a q."""

    def tokenize(self, texts):
        if any(b"q" in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().tokenize(texts)
