"""Files for `tensorflow_model_server`, next to the versions of the model that it serves."""

from __future__ import annotations

import json
import pathlib
import re
import unicodedata

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


def folder_name(path: str | pathlib.Path) -> str:
    """Returns the last name of a path: of the folder itself for `.` and `..`."""
    name = pathlib.Path(path).name
    if name in ("", ".."):
        name = pathlib.Path(path).resolve().name
    return name


def model_name(root: str | pathlib.Path) -> str:
    """Returns the name under which the model in a folder is served.

    TF Serving matches the path of a URL as it is sent, without decoding `%20`. The name has only
    letters and digits of ASCII, `_`, `-` and `.`; accents are removed, and each run of other
    characters becomes one `_`.

    Args:
      root: the served model's folder, which keeps its own name.
    """
    plain = unicodedata.normalize("NFKD", folder_name(root))
    without_accents = re.sub(r"[\u0300-\u036f]", "", plain)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", without_accents)
    return name if name.strip("_.-") else "model"


def write_server_files(root: pathlib.Path) -> None:
    """Writes the files that do not exist yet, so that changes of the user stay.

    Args:
      root: the served model's folder.
    """
    models = _MODELS.format(
        name=json.dumps(model_name(root)),
        path=json.dumps(str(root.resolve()), ensure_ascii=False),
    )
    for name, text in ((BATCHING_FILE, _BATCHING), (MODELS_FILE, models)):
        if not (root / name).exists():
            write_text(root / name, text)
