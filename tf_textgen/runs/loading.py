"""The flags by which jobs name a trained run, and the run as a `TextGenerator`."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.config import override
from tf_textgen.decoding.decoding_config import (
    DecodingConfig,
    check_against_source,
    check_against_vocabulary,
)
from tf_textgen.errors import UserError
from tf_textgen.runs.trained_generator import make_generator, prompt_format

if TYPE_CHECKING:
    from tf_textgen.data.data_config import DataConfig
    from tf_textgen.data.split import TokenizedSplit
    from tf_textgen.generator import TextGenerator
    from tf_textgen.runs.run_folder import LoadedRun


def define_run_flags(flag_values: flags.FlagValues) -> None:
    """`--run.dir`, `--run.checkpoint` and `--run.weights`."""
    define_run_dir_flag(flag_values)
    text = "Which checkpoint: best (lowest validation loss), last, or a step."
    flags.DEFINE_string("run.checkpoint", "best", text, flag_values=flag_values)
    text = "Which weights: trained, or their moving average, taken by default if the checkpoint has it."
    flags.DEFINE_enum("run.weights", None, ["average", "trained"], text, flag_values=flag_values)


def define_run_dir_flag(flag_values: flags.FlagValues) -> None:
    flags.DEFINE_string("run.dir", None, "Run folder that `train` wrote.", flag_values=flag_values)


def load(flag_values: flags.FlagValues) -> LoadedRun:
    """The run that the flags name.

    Raises:
      UserError: if `--run.dir` is missing or is no run folder.
    """
    from tf_textgen.runs.run_folder import load_run

    directory = run_dir(flag_values)
    import_tensorflow_quietly()
    checkpoint = str(flag_values["run.checkpoint"].value)
    weights = flag_values["run.weights"].value
    return load_run(directory, checkpoint=checkpoint, weights=weights)


def run_dir(flag_values: flags.FlagValues) -> str:
    """The value of `--run.dir`; raises `UserError` if it is missing."""
    if not flag_values["run.dir"].value:
        raise UserError(
            "--run.dir is missing: expected the folder of a run, as `train --run.dir=...` wrote it"
        )
    return str(flag_values["run.dir"].value)


def open_split(run: LoadedRun, data: DataConfig, split: str) -> TokenizedSplit:
    """A split of the run's data, tokenized; raises `UserError` if there is none of this name."""
    from tf_textgen.data.dataset import open_corpus

    opened = open_corpus(data, run.tokenizer, (split,), run.source_tokenizer)
    if split not in opened:
        raise UserError(f"--split={split}: the run has no such data; give --file or --data.{split}")
    return opened[split]


def check_decoding(flag_values: flags.FlagValues) -> None:
    """Tells what is wrong with the decoding flags, alone or next to those of the run, before
    anything is loaded.
    """
    from tf_textgen.runs.run_folder import read_config

    directory = flag_values["run.dir"].value
    recorded = read_config(directory).get("decoding", {}) if directory else {}
    override(DecodingConfig.from_json(recorded), flag_values)


def decoding_of(run: LoadedRun, flag_values: flags.FlagValues) -> DecodingConfig:
    """The run's decoding parameters with those on the command line in their place."""
    decoding = override(DecodingConfig.from_json(run.config.get("decoding", {})), flag_values)
    check_against_vocabulary(decoding, run.tokenizer.vocabulary_size)
    check_against_source(decoding, prompt_format(run.config) in ("pair", "source"))
    return decoding


def within_bounds(
    decoding: DecodingConfig, generator: TextGenerator, flag_values: flags.FlagValues
) -> DecodingConfig:
    """Leaves the prompt its room if nobody chose `max_new_tokens`.

    A wish of the command line beyond the bound is an error; of one that the run recorded, as much
    is taken as there is.
    """
    wish = decoding.max_new_tokens
    bound = generator.max_new_tokens
    reason = "one less than the context of this model"
    if generator.context is None or bound < generator.context - 1:
        reason = "as --export.max_new_tokens says"
    given = flag_values["decoding.max_new_tokens"].present
    if given and wish > bound:
        raise UserError(f"--decoding.max_new_tokens={wish}: expected at most {bound}, {reason}")
    most = wish
    if not given and wish == DecodingConfig().max_new_tokens:
        most = min(wish, generator.default_new_tokens)
    elif wish > bound:
        most = bound
        print(
            f"note: the run's --decoding.max_new_tokens={wish} is taken as {bound}, {reason}",
            file=sys.stderr,
        )
    return dataclasses.replace(
        decoding, max_new_tokens=most, min_new_tokens=min(decoding.min_new_tokens, most)
    )


def generator_of(
    run: LoadedRun,
    *,
    max_new_tokens: int = 256,
    max_prompt_tokens: int = 1024,
    jit_compile: bool = False,
) -> TextGenerator:
    """The run's model and tokenizers, prompted as its training rows began."""
    return make_generator(
        run.config,
        run.model,
        run.tokenizer,
        run.source_tokenizer,
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        jit_compile=jit_compile,
    )
