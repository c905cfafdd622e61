"""Continues prompts, or maps sources to targets, with a trained run."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.decoding.decoding_config import DecodingConfig, check_against_source, check_against_vocabulary
from tf_textgen.errors import UserError
from tf_textgen.jobs import loading
from tf_textgen.jobs.prompts import lines_of

if TYPE_CHECKING:
    from tf_textgen.generator import Continuation

Continue: TypeAlias = "Callable[[Sequence[str]], list[Continuation]]"

HELP = "Continue prompts, or translate sources, with a trained run."


def define_flags(flag_values: flags.FlagValues) -> None:
    loading.define_run_flags(flag_values)
    config.define_flags(DecodingConfig, flag_values)
    saved_help = "Ask this export (NAME or NAME/VERSION) in place of a run."
    flags.DEFINE_string("saved_model", None, saved_help, flag_values=flag_values)
    prompt_help = "A text to continue, or a source to map. Without it: standard input, a line a prompt."
    flags.DEFINE_multi_string("prompt", [], prompt_help, flag_values=flag_values)
    flags.DEFINE_string("prompt_file", None, "A file with one prompt a line.", flag_values=flag_values)
    flags.DEFINE_boolean(
        "json", False, "Write JSON lines with score, finish reason and tokens.", flag_values=flag_values
    )
    flags.DEFINE_integer("batch_size", 16, "Prompts decoded at once.", lower_bound=1, flag_values=flag_values)


def run(flag_values: flags.FlagValues) -> None:
    if flag_values["prompt"].value and flag_values["prompt_file"].value:
        raise UserError("--prompt and --prompt_file are both given: expected one of them")
    saved_model = flag_values["saved_model"].value
    continue_all, is_pair = _export(saved_model, flag_values) if saved_model else _run_folder(flag_values)
    write = _write_json if flag_values["json"].value else _write_text
    batch_size = flag_values["batch_size"].value
    prompts = iter(flag_values["prompt"].value or lines_of(flag_values["prompt_file"].value, "--prompt_file"))
    interactive = not flag_values["prompt"].value and not flag_values["prompt_file"].value and sys.stdin.isatty()
    while some := list(islice(prompts, 1 if interactive else batch_size)):
        for continuation in continue_all(some):
            if continuation.prompt_truncated:
                print(
                    f"note: the prompt {continuation.prompt[:40]!r}... is longer than the room of the context; "
                    "its beginning was cut",
                    file=sys.stderr,
                )
            write(continuation, is_pair=is_pair)


def _run_folder(flag_values: flags.FlagValues) -> tuple[Continue, bool]:
    """Continues texts with a run; and whether they are sources."""
    loading.check_decoding(flag_values)
    loaded = loading.load(flag_values)
    decoding = loading.decoding_of(loaded, flag_values)
    generator = loading.generator_of(loaded, max_new_tokens=max(256, decoding.max_new_tokens))
    decoding = loading.within_bounds(decoding, generator, flag_values)
    generator.check(decoding)
    batch_size = int(flag_values["batch_size"].value or 1)
    return (lambda texts: generator.generate(texts, decoding, batch_size=batch_size)), generator.is_pair


def _export(path: str, flag_values: flags.FlagValues) -> tuple[Continue, bool]:
    """Continues texts with a SavedModel, in which the run's code takes no part; and whether they are sources."""
    if flag_values["run.dir"].value:
        raise UserError("--run.dir and --saved_model are both given: expected one of them")
    if flag_values["run.checkpoint"].present:
        raise UserError(
            "--run.checkpoint and --saved_model are both given: an export has no checkpoints; leave one out"
        )
    import_tensorflow_quietly()
    from tf_textgen.export.exported import Exported, decoding_of

    decoding = config.override(decoding_of(path), flag_values)  # bad values are told before anything is loaded
    exported = Exported(path)
    if exported.vocabulary_size:
        check_against_vocabulary(decoding, exported.vocabulary_size)
    check_against_source(decoding, exported.is_pair)
    return (lambda texts: exported.generate(texts, decoding)), exported.is_pair


def _write_json(continuation: Continuation, *, is_pair: bool) -> None:
    values = {name: value for name, value in dataclasses.asdict(continuation).items() if value is not None}
    if is_pair:
        values = {"source": values.pop("prompt"), **values}
    print(json.dumps(values, ensure_ascii=False), flush=True)


def _write_text(continuation: Continuation, *, is_pair: bool) -> None:
    print(continuation.text if is_pair else continuation.prompt + continuation.text, flush=True)
