"""Continues prompts, or maps sources to targets, with a trained run, an export, or what a server
has.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.decoding.decoding_config import (
    DecodingConfig,
    check_against_source,
    check_against_vocabulary,
)
from tf_textgen.errors import UserError
from tf_textgen.jobs.conversation import Conversation, conversation_of
from tf_textgen.jobs.prompts import DIALOGUE_HINT, LINES_HINT, lines_of
from tf_textgen.jobs.remote_model import define_server_flags, remote_model
from tf_textgen.jobs.writers import JsonWriter, TextWriter
from tf_textgen.runs import loading

if TYPE_CHECKING:
    from tf_textgen.client.rest_client import TextStream
    from tf_textgen.jobs.writers import Written

HELP = "Continue prompts, or translate sources, with a trained run, an export or a server."
_PLACES = ("run.dir", "saved_model", "server")


class _Model(NamedTuple):
    """Who is asked: `generate` continues texts, which are sources if `is_pair`, and cuts
    over-long ones at `truncation_side`; `config` is the run's. `stream` says one text piece by
    piece, if it can.
    """

    generate: Callable[[Sequence[str]], Sequence[Written]]
    is_pair: bool
    truncation_side: str
    config: Mapping[str, Any]
    stream: Callable[[str], TextStream] | None = None


def define_flags(flag_values: flags.FlagValues) -> None:
    loading.define_run_flags(flag_values)
    config.define_flags(DecodingConfig, flag_values)
    saved_help = "Ask this export (NAME or NAME/VERSION) instead of a run."
    flags.DEFINE_string("saved_model", None, saved_help, flag_values=flag_values)
    define_server_flags(flag_values)
    prompt_help = (
        "A text to continue, or a source to map. Without it: standard input, a line a prompt; "
        "typed lines are the turns of a dialogue if the run learnt dialogues."
    )
    flags.DEFINE_multi_string("prompt", [], prompt_help, flag_values=flag_values)
    flags.DEFINE_string(
        "prompt_file", None, "A file with one prompt a line.", flag_values=flag_values
    )
    escapes_help = r"Read \n, \t, \\, \xHH and \uHHHH in prompts as the characters they stand for."
    flags.DEFINE_boolean("escapes", False, escapes_help, flag_values=flag_values)
    flags.DEFINE_boolean(
        "json",
        False,
        "Write JSON lines with score, finish reason and tokens.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "batch_size", 16, "Prompts decoded at once.", lower_bound=1, flag_values=flag_values
    )


def run(flag_values: flags.FlagValues) -> None:
    if flag_values["prompt"].value and flag_values["prompt_file"].value:
        raise UserError("--prompt and --prompt_file are both given: expected one of them")
    given = flag_values["prompt"].value or flag_values["prompt_file"].value
    interactive = not given and sys.stdin is not None and sys.stdin.isatty()
    with _model(flag_values) as model:
        _answer(model, flag_values, interactive)


def _answer(model: _Model, flag_values: flags.FlagValues, interactive: bool) -> None:
    conversation = conversation_of(model.config) if interactive else None
    is_json = bool(flag_values["json"].value)
    side = model.truncation_side
    write = (
        JsonWriter(model.is_pair, side)
        if is_json
        else TextWriter(model.is_pair, side, has_rules=not interactive)
    )
    prompts = _prompts(flag_values, DIALOGUE_HINT if conversation else LINES_HINT)
    if conversation:
        _converse(model, conversation, prompts, write)
        return
    if interactive and model.stream and isinstance(write, TextWriter):
        for prompt in prompts:
            write.stream(prompt, model.stream(prompt))
        return
    while some := list(islice(prompts, 1 if interactive else flag_values["batch_size"].value)):
        for continuation in model.generate(some):
            write(continuation)


@contextlib.contextmanager
def _model(flag_values: flags.FlagValues) -> Iterator[_Model]:
    """Of the one place that the flags name."""
    given = [name for name in _PLACES if flag_values[name].value]
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
    if flag_values["server"].value:
        with remote_model(flag_values) as remote:
            stream = remote.stream if remote.can_stream else None
            yield _Model(remote.generate, remote.is_pair, "beginning or end", {}, stream)
    elif saved_model := flag_values["saved_model"].value:
        yield _export(saved_model, flag_values)
    else:
        yield _run_folder(flag_values)


def _prompts(flag_values: flags.FlagValues, hint: str) -> Iterator[str]:
    escapes = bool(flag_values["escapes"].value)
    given = flag_values["prompt"].value
    if given:
        return iter(
            [config.unescape(f"--prompt={text}", text) for text in given] if escapes else given
        )
    return lines_of(flag_values["prompt_file"].value, "--prompt_file", hint=hint, escapes=escapes)


def _converse(
    model: _Model,
    conversation: Conversation,
    lines: Iterator[str],
    write: Callable[[Written], None],
) -> None:
    """Replies to one typed turn after the other; of several samples the first is what was said."""
    for line in lines:
        if not line.strip():
            conversation.forget()
            continue
        replies = model.generate([conversation.prompt(line)])
        for reply in replies:
            write(reply)
        conversation.replied(replies[0].text)


def _run_folder(flag_values: flags.FlagValues) -> _Model:
    """A run's own generator."""
    loading.check_decoding(flag_values)
    loaded = loading.load(flag_values)
    decoding = loading.decoding_of(loaded, flag_values)
    generator = loading.generator_of(loaded, max_new_tokens=max(256, decoding.max_new_tokens))
    decoding = loading.within_bounds(decoding, generator, flag_values)
    generator.check(decoding)
    batch_size = int(flag_values["batch_size"].value or 1)
    return _Model(
        lambda texts: generator.generate(texts, decoding, batch_size=batch_size),
        generator.is_pair,
        generator.truncation_side,
        loaded.config,
    )


def _export(path: str, flag_values: flags.FlagValues) -> _Model:
    """A SavedModel, in which the run's code takes no part."""
    import_tensorflow_quietly()
    from tf_textgen.export.exported import Exported, decoding_of

    decoding = config.override(
        decoding_of(path), flag_values
    )  # bad values are reported before anything is loaded
    exported = Exported(path)
    if exported.vocabulary_size:
        check_against_vocabulary(decoding, exported.vocabulary_size)
    check_against_source(decoding, exported.is_pair)
    side = exported.config.get(
        "truncation_side", "beginning"
    )  # an export of an earlier version knows no other
    return _Model(
        lambda texts: exported.generate(texts, decoding), exported.is_pair, side, exported.config
    )
