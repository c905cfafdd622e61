"""Files for `tensorflow_model_server`, next to the versions of the model that it serves."""

from __future__ import annotations

import json
import pathlib

from tf_textgen.atomic_files import write_text

BATCHING_FILE = "batching_parameters.txt"
MODELS_FILE = "models.config"
# By default the server has four threads a core for each interface, so that on two cores a batch
# never has more than 8 rows and gRPC refuses more than a few clients.
SERVER_THREADS = "--rest_api_num_threads=128 --grpc_max_threads=256"
# 2 ms are short compared with the time of a text.
_BATCHING = """\
# For --enable_batching --batching_parameters_file. Requests that arrive within the time-out share a
# batch. An export writes this file only if there is none: adapt it to your load.
batch_timeout_micros { value: 2000 }
# A request of up to 1,024 rows is split into batches of at most 32.
max_batch_size { value: 1024 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 32 }
# Batches that run at once are as many as the server has CPU cores, unless num_batch_threads is set.
# Requests beyond these batches are refused at once with UNAVAILABLE; the client repeats them later.
max_enqueued_batches { value: 100 }
"""
_MODELS = """\
# For --model_config_file. An export writes this file only if there is none: adapt base_path if the
# folder is moved, or has another name in a container.
model_config_list {{
  config {{
    name: {name}
    base_path: {path}
    model_platform: "tensorflow"
  }}
}}
"""


def write_server_files(root: pathlib.Path) -> None:
    """Writes the files that do not exist yet, so that changes of the user stay.

    Args:
      root: the served model's folder.
    """
    models = _MODELS.format(
        name=json.dumps(root.name),
        path=json.dumps(str(root.resolve()), ensure_ascii=False),
    )
    for name, text in ((BATCHING_FILE, _BATCHING), (MODELS_FILE, models)):
        if not (root / name).exists():
            write_text(root / name, text)
