"""Writes a run as a SavedModel version for TF Serving."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from tf_textgen import config
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export.export_config import ExportConfig
from tf_textgen.export.server_files import folder_name
from tf_textgen.jobs import run_flags
from tf_textgen.runs.kept_files import check_outside_runs

if TYPE_CHECKING:
    from tf_textgen.generator import TextGenerator

HELP = "Write a run as a SavedModel that takes raw text and returns raw text."


def define_flags(flag_values: flags.FlagValues) -> None:
    run_flags.define_run_flags(flag_values)
    config.define_flags(ExportConfig, flag_values)
    config.define_flags(DecodingConfig, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    export_config = config.from_flags(ExportConfig, flag_values)
    run_flags.check_decoding(flag_values)
    if export_config.dir:
        check_outside_runs("--export.dir", export_config.dir, run_flags.run_dir(flag_values))
    loaded = run_flags.load(flag_values)

    from tf_textgen.export.saved_model import CARD_FILE, export_saved_model
    from tf_textgen.export.versions import remove_old_versions
    from tf_textgen.runs.run_folder import read_record

    run_dir = run_flags.run_dir(flag_values)
    generator, decoding = run_flags.generator_and_decoding(
        loaded,
        flag_values,
        max_new_tokens=export_config.max_new_tokens,
        max_prompt_tokens=export_config.max_prompt_tokens,
        jit_compile=export_config.jit_compile,
    )
    described = loaded.config.to_json()
    # The folders of this machine say nothing to those who use the export.
    del described["paths"]
    version = export_saved_model(
        generator,
        export_config.dir or _default_folder(run_dir),
        decoding=decoding,
        version=export_config.version,
        config=described,
        record=read_record(run_dir),
    )
    print(f"exported {version}; model card: {CARD_FILE}")
    if export_config.keep:
        root = version.parent.resolve()
        removed = remove_old_versions(root, int(version.name), export_config.keep)
        if removed:
            print(f"  removed the older versions {', '.join(map(str, removed))}")
    _print_limits(generator, decoding)
    _print_commands(version, export_config)


def _default_folder(run_dir: str) -> Path:
    name = folder_name(run_dir)
    if not name:
        raise UserError(
            f"--run.dir={run_dir} has no name: expected --export.dir, the folder of the served "
            "model; give it"
        )
    return Path("saved_models") / name


def _print_limits(generator: TextGenerator, decoding: DecodingConfig) -> None:
    print(
        "  checked: in a fresh process, as TF Serving runs it, every signature returns the run's "
        "own answers"
    )
    print(
        f"  limits of a request: {generator.max_prompt_tokens} prompt tokens, "
        f"{generator.max_new_tokens} new tokens"
    )
    if decoding.beam_width > 1:
        print(
            f"  the signature beam_search has a beam of {decoding.beam_width} and returns the "
            f"{decoding.num_best} best"
        )


def _print_commands(version: Path, export_config: ExportConfig) -> None:
    """Prints the commands that serve the export and ask it."""
    from tf_textgen.export.server_files import BATCHING_FILE, SERVER_THREADS, model_name

    root = version.parent.resolve()
    name = model_name(root)
    command = [
        f"tensorflow_model_server --rest_api_port=8501 {SERVER_THREADS}",
        f"--model_name={name} --model_base_path={shlex.quote(str(root))}",
        f"--enable_batching --batching_parameters_file={shlex.quote(str(root / BATCHING_FILE))}",
    ]
    if export_config.jit_compile:
        command.append("--xla_cpu_compilation_enabled=true")
    body = '{"instances": ["Once upon a time"]}'
    print("serve it with TF Serving:")
    print("  " + " \\\n    ".join(command))
    print(f"  curl -d '{body}' localhost:8501/v1/models/{name}:predict")
