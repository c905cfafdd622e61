"""Continues prompts, or maps sources to targets, with a trained run, an export or a server."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.config import Config, field
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.jobs import run_flags
from tf_textgen.jobs.answering import AnsweringModel, answer_batches, answer_typed, converse
from tf_textgen.jobs.conversation import conversation_of
from tf_textgen.jobs.prompts import DIALOGUE_HINT, LINES_HINT, is_terminal, lines_of
from tf_textgen.jobs.remote_model import RemoteConfig, remote_model
from tf_textgen.jobs.writers import JsonWriter, TextWriter

HELP = "Continue prompts, or translate sources, with a trained run, an export or a server."
_MODEL_FLAGS = ("run.dir", "saved_model", "server")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateConfig(Config):
    """The model, the prompts and the form of the texts."""

    saved_model: str | None = field(
        None,
        "Use this export (NAME or NAME/VERSION) instead of a run.",
        path=True,
    )
    prompt: tuple[str, ...] = field(
        (),
        "A text to continue, or a source to map. Without it, each line of standard input is a "
        "prompt; typed lines are the turns of a dialogue if the run learned dialogues.",
    )
    prompt_file: str | None = field(None, "A file with one prompt a line.", path=True)
    escapes: bool = field(
        False, r"Read \n, \t, \\, \xHH and \uHHHH in prompts as the characters that they represent."
    )
    json: bool = field(False, "Print JSON lines with score, finish reason and tokens.")
    batch_size: int = field(16, "Number of prompts decoded together.", at_least=1)


def define_flags(flag_values: flags.FlagValues) -> None:
    run_flags.define_run_flags(flag_values)
    for config_class in (GenerateConfig, RemoteConfig, DecodingConfig):
        config.define_flags(config_class, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    generate_config = config.from_flags(GenerateConfig, flag_values)
    _check_flags(flag_values)
    is_given = generate_config.prompt or generate_config.prompt_file
    is_typed = not is_given and is_terminal()
    with _open_model(generate_config, flag_values) as model:
        writer: JsonWriter | TextWriter
        if generate_config.json:
            writer = JsonWriter(model.is_pair, model.truncation_side)
        else:
            writer = TextWriter(model.is_pair, model.truncation_side, has_rules=not is_typed)
        conversation = conversation_of(model.data) if is_typed else None
        if conversation:
            converse(model, conversation, _prompts(generate_config, DIALOGUE_HINT), writer)
        elif is_typed:
            answer_typed(model, _prompts(generate_config, LINES_HINT), writer)
        else:
            prompts = _prompts(generate_config, LINES_HINT)
            answer_batches(model, prompts, writer, batch_size=generate_config.batch_size)


def _check_flags(flag_values: flags.FlagValues) -> None:
    if flag_values["prompt"].value and flag_values["prompt_file"].value:
        raise UserError("--prompt and --prompt_file are both given: expected one of them")
    given = [name for name in _MODEL_FLAGS if flag_values[name].value]
    if len(given) > 1:
        raise UserError(f"--{given[0]} and --{given[1]} are both given: expected one of them")
    if given and given[0] != "run.dir" and flag_values["run.checkpoint"].present:
        raise UserError(
            f"--run.checkpoint and --{given[0]} are both given: an export has no checkpoints; "
            "leave one out"
        )
    if flag_values["server_model"].value and not flag_values["server"].value:
        raise UserError(
            "--server_model is given without --server: expected --server=HOST:PORT with it, or "
            "neither"
        )


@contextlib.contextmanager
def _open_model(
    generate_config: GenerateConfig, flag_values: flags.FlagValues
) -> Iterator[AnsweringModel]:
    """Yields the run, export or model on a server that the flags name."""
    remote_config = config.from_flags(RemoteConfig, flag_values)
    if remote_config.server:
        with remote_model(remote_config, flag_values) as remote:
            yield AnsweringModel(
                generate=remote.generate,
                is_pair=remote.is_pair,
                truncation_side="beginning or end",
                data=None,
                stream=remote.stream if remote.can_stream else None,
            )
        return
    if not generate_config.saved_model:
        run_flags.check_decoding(flag_values)
        run_flags.run_dir(flag_values)
    import_tensorflow_quietly()
    from tf_textgen.jobs import local_models

    if generate_config.saved_model:
        yield local_models.exported_model(generate_config.saved_model, flag_values)
    else:
        yield local_models.run_model(flag_values, batch_size=generate_config.batch_size)


def _prompts(generate_config: GenerateConfig, hint: str) -> Iterator[str]:
    escapes = generate_config.escapes
    if not generate_config.prompt:
        return lines_of(generate_config.prompt_file, "--prompt_file", hint=hint, escapes=escapes)
    prompts = list(generate_config.prompt)
    if escapes:
        prompts = [config.unescape(f"--prompt={text}", text) for text in prompts]
    return iter(prompts)
