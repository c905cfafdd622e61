"""A run's model and tokenizers as a `TextGenerator`, prompted as its training rows began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tf_textgen.data.data_config import DataConfig
from tf_textgen.models import model_kind

if TYPE_CHECKING:
    from tf_textgen.generator import PromptFormat, TextGenerator, TruncationSide
    from tf_textgen.models.base import TextModel
    from tf_textgen.text.tokenizer import Tokenizer


def make_generator(
    config: Mapping[str, Any],
    model: TextModel,
    tokenizer: Tokenizer,
    source_tokenizer: Tokenizer | None = None,
    *,
    max_new_tokens: int = 256,
    max_prompt_tokens: int = 1024,
    jit_compile: bool = False,
) -> TextGenerator:
    """The generator of a run.

    Args:
      config: the run's config.json.
      model: built.
      tokenizer: the run's.
      source_tokenizer: that of the sources; None if it is `tokenizer`.
      max_new_tokens, max_prompt_tokens: bounds of a request.
      jit_compile: as `TextGenerator` takes it.
    """
    from tf_textgen.generator import TextGenerator

    return TextGenerator(
        model,
        tokenizer,
        prompt_format=prompt_format(config),
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        truncation_side=truncation_side(config),
        source_tokenizer=source_tokenizer,
        jit_compile=jit_compile,
    )


def prompt_format(config: Mapping[str, Any]) -> PromptFormat:
    """How the rows of the data of `config` (a run's config.json) begin; see `TextGenerator`."""
    if model_kind(config["model"]) == "encoder_decoder":
        return "source"
    data = DataConfig.from_json(config["data"])
    if data.format != "text":
        return "pair"
    return "document" if data.batching == "packed" else "continuation"


def truncation_side(config: Mapping[str, Any]) -> TruncationSide:
    """The side that an over-long prompt of a run with `config` loses: that which
    `--data.over_long=cut` removed in its training.
    """
    return (
        "beginning"
        if DataConfig.from_json(config["data"]).format in ("text", "dialogue")
        else "end"
    )
