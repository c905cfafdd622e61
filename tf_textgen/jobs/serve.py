"""Serves an export over HTTP, for a machine without TF Serving."""

from __future__ import annotations

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.errors import UserError
from tf_textgen.server.server_config import ServerConfig

HELP = "Serve an export over HTTP: TF Serving's REST paths, completions that stream, and a page to try it."


def define_flags(flag_values: flags.FlagValues) -> None:
    text = "The export: NAME, whose newest version is served and replaced by newer ones, or NAME/VERSION."
    flags.DEFINE_string("saved_model", None, text, flag_values=flag_values)
    config.define_flags(ServerConfig, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    saved_model = flag_values["saved_model"].value
    if not saved_model:
        raise UserError(
            "--saved_model is missing: expected the folder of an export, as `export` wrote it"
        )
    wanted = config.from_flags(ServerConfig, flag_values)
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise UserError(
            f"serve needs the package {error.name}, which is not installed; pip install "
            "'tf_textgen[serve]'"
        ) from error
    del starlette, uvicorn
    import_tensorflow_quietly()
    from tf_textgen.server.server import LocalServer

    server = LocalServer(str(saved_model), wanted)

    def tell() -> None:
        name = server.model.name
        version = server.model.current.number
        print(f"version {version} of {name} answers; a page to try it: {server.url}")
        print(
            f"""  curl -d '{{"instances": ["Once upon a time"]}}' {server.url}v1/models/{name}:predict""",
            flush=True,
        )

    server.serve(tell)
