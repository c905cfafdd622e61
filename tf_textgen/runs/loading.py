"""A trained run as a `TextGenerator`, and its data."""

from __future__ import annotations

import sys

from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dataset import open_corpus
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.decoding.decoding_config import (
    DecodingConfig,
    check_against_source,
    check_against_vocabulary,
)
from tf_textgen.errors import UserError
from tf_textgen.generator import TextGenerator
from tf_textgen.runs.run_folder import LoadedRun
from tf_textgen.runs.trained_generator import make_generator, prompt_format


def generator_of(
    run: LoadedRun,
    *,
    max_new_tokens: int = 256,
    max_prompt_tokens: int = 1024,
    jit_compile: bool = False,
) -> TextGenerator:
    """Returns the generator of a run's model and tokenizers."""
    return make_generator(
        run.config,
        run.model,
        run.tokenizer,
        run.source_tokenizer,
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        jit_compile=jit_compile,
    )


def open_split(run: LoadedRun, data: DataConfig, split: str) -> TokenizedSplit:
    """Opens a split of `data`, tokenized for the run.

    Raises:
      UserError: if there is no split of this name.
    """
    opened = open_corpus(data, run.tokenizer, (split,), run.source_tokenizer)
    if split not in opened:
        raise UserError(f"--split={split}: the run has no such data; give --file or --data.{split}")
    return opened[split]


def check_decoding(run: LoadedRun, decoding: DecodingConfig) -> None:
    """Raises `UserError` if the run's model or vocabulary cannot decode with these parameters."""
    check_against_vocabulary(decoding, run.tokenizer.vocabulary_size)
    check_against_source(
        decoding, prompt_format(run.config.model, run.config.data) in ("pair", "source")
    )


def fit_to_context(
    decoding: DecodingConfig, generator: TextGenerator, *, is_chosen: bool
) -> DecodingConfig:
    """Returns `decoding` with a `max_new_tokens` that fits in the context.

    If it is the default, half of the context is left to the prompt. If the run recorded a larger
    one, as many tokens are generated as the context has.

    Args:
      decoding: the parameters.
      generator: the generator, with its bound of new tokens.
      is_chosen: whether `max_new_tokens` is given on the command line.

    Raises:
      UserError: if the command line asks for more tokens than the context has.
    """
    limit = generator.max_new_tokens
    reason = "one less than the context of this model"
    if generator.context is None or limit < generator.context - 1:
        reason = "the limit of --export.max_new_tokens"
    flag = f"--{decoding.prefix}.max_new_tokens={decoding.max_new_tokens}"
    most = decoding.max_new_tokens
    if most > limit and is_chosen:
        raise UserError(f"{flag}: expected at most {limit}, {reason}")
    if most == DecodingConfig().max_new_tokens and not is_chosen:
        most = min(most, generator.default_new_tokens)
    elif most > limit:
        most = limit
        print(f"note: the run's {flag} is reduced to {limit}, {reason}", file=sys.stderr)
    least = min(decoding.min_new_tokens, most)
    return decoding.replace(max_new_tokens=most, min_new_tokens=least)
