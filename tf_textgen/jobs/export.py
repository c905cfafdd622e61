"""Writes a run as a SavedModel version for TF Serving."""

from __future__ import annotations

import pathlib
from shlex import quote

from absl import flags

from tf_textgen import config
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.export.export_config import ExportConfig
from tf_textgen.runs import loading

HELP = "Write a run as a SavedModel that takes raw text and returns raw text."


def define_flags(flag_values: flags.FlagValues) -> None:
    loading.define_run_flags(flag_values)
    config.define_flags(ExportConfig, flag_values)
    config.define_flags(DecodingConfig, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    wanted = config.from_flags(ExportConfig, flag_values)
    loading.check_decoding(flag_values)
    loaded = loading.load(flag_values)
    decoding = loading.decoding_of(loaded, flag_values)
    from tf_textgen.export.saved_model import CARD_FILE, export_saved_model
    from tf_textgen.export.server_files import BATCHING_FILE
    from tf_textgen.export.versions import remove_old_versions
    from tf_textgen.runs.run_folder import read_record

    directory = wanted.dir or str(
        pathlib.Path("saved_models") / pathlib.Path(str(flag_values["run.dir"].value)).name
    )
    generator = loading.generator_of(
        loaded,
        max_new_tokens=wanted.max_new_tokens,
        max_prompt_tokens=wanted.max_prompt_tokens,
        jit_compile=wanted.jit_compile,
    )
    decoding = loading.within_bounds(decoding, generator, flag_values)
    record = read_record(str(flag_values["run.dir"].value))
    path = export_saved_model(
        generator,
        directory,
        decoding=decoding,
        version=wanted.version,
        config=loaded.config,
        record=record,
    )
    root = path.parent.resolve()
    name = path.parent.name
    print(f"exported {path}; what it is: {CARD_FILE}")
    if wanted.keep and (gone := remove_old_versions(root, int(path.name), wanted.keep)):
        print(f"  removed the older versions {', '.join(map(str, gone))}")
    print(
        "  checked: a session in a fresh process, as TF Serving runs it, gives the run's own "
        "answers by every signature"
    )
    print(
        f"  at most {generator.max_prompt_tokens} prompt tokens and {generator.max_new_tokens} new "
        "tokens a request"
    )
    if decoding.beam_width > 1:
        print(
            f"  a beam of {decoding.beam_width} answers, in the signature beam_search with "
            f"{decoding.num_best} best"
        )
    print("serve it with TF Serving:")
    print(
        f"  tensorflow_model_server --rest_api_port=8501 --model_name={name} "
        f"--model_base_path={quote(str(root))} \\"
    )
    xla = " \\\n    --xla_cpu_compilation_enabled=true" if wanted.jit_compile else ""
    print(
        f"    --enable_batching --batching_parameters_file={quote(str(root / BATCHING_FILE))}{xla}"
    )
    print(
        f"""  curl -d '{{"instances": ["Once upon a time"]}}' localhost:8501/v1/models/{name}:predict"""
    )
