"""What `tensorflow_model_server` is started with, next to the versions of the model it serves."""

from __future__ import annotations

import json
import pathlib

from tf_textgen.atomic_files import write_text

BATCHING_FILE = "batching_parameters.txt"
MODELS_FILE = "models.config"
# A batch of 32 takes a step of decoding hardly longer than one row does; 2 ms are little next to
# the time of a text.
_BATCHING = """\
# For --enable_batching --batching_parameters_file. Requests that come within the time-out share a
# batch. An export writes this file once and then leaves it alone: change what your load asks for.
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
# As many as the server has CPU cores; with a GPU about twice as many.
num_batch_threads { value: 4 }
# More requests than these batches hold are answered by UNAVAILABLE at once, which a client repeats
# later.
max_enqueued_batches { value: 100 }
"""
_MODELS = """\
# For --model_config_file. An export writes this file once: if the folder is moved, or seen under
# another name as in a container, base_path has to follow.
model_config_list {{
  config {{
    name: {name}
    base_path: {path}
    model_platform: "tensorflow"
  }}
}}
"""


def write_server_files(root: pathlib.Path) -> None:
    """Writes those that are not there yet.

    Args:
      root: the served model's folder.
    """
    quoted = {
        "name": json.dumps(root.name),
        "path": json.dumps(str(root.resolve()), ensure_ascii=False),
    }
    for name, text in ((BATCHING_FILE, _BATCHING), (MODELS_FILE, _MODELS.format(**quoted))):
        if not (root / name).exists():
            write_text(root / name, text)
