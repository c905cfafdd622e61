"""Serves an export over HTTP, for a machine without TF Serving."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.errors import UserError
from tf_textgen.server.server_config import ServerConfig

if TYPE_CHECKING:
    from tf_textgen.server.server import LocalServer

HELP = (
    "Serve an export over HTTP: TF Serving's REST paths, completions that stream, and a page to "
    "try it."
)
_PACKAGES = ("starlette", "uvicorn")


def define_flags(flag_values: flags.FlagValues) -> None:
    text = (
        "Folder of the export: NAME serves its newest version and replaces it when a newer one "
        "appears; NAME/VERSION serves this version."
    )
    config.define_path_flag("saved_model", None, text, flag_values)
    config.define_flags(ServerConfig, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    saved_model = flag_values["saved_model"].value
    if not saved_model:
        raise UserError(
            "--saved_model is missing: expected the folder of an export, as `export` wrote it"
        )
    server_config = config.from_flags(ServerConfig, flag_values)
    _check_packages()
    import_tensorflow_quietly()
    from tf_textgen.server.server import LocalServer

    server = LocalServer(str(saved_model), server_config)
    server.serve(on_ready=lambda: _announce(server))


def _check_packages() -> None:
    """Raises `UserError` if an optional package is missing, before TensorFlow is imported."""
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"serve needs the package {error.name}, which is not installed; pip install "
                "'tf_textgen[serve]'"
            ) from error


def _announce(server: LocalServer) -> None:
    name = server.model.name
    version = server.model.current.number
    body = '{"instances": ["Once upon a time"]}'
    print(f"version {version} of {name} answers; a page to try it: {server.url}")
    print(f"  curl -d '{body}' {server.url}v1/models/{name}:predict", flush=True)
