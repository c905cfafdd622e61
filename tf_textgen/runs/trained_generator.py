"""A run's model and tokenizers as a `TextGenerator`, prompted as its training rows began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tf_textgen.data.data_config import DataConfig
from tf_textgen.models import model_kind

if TYPE_CHECKING:
    from tf_textgen.generator import PromptFormat, TextGenerator, TruncationSide
    from tf_textgen.models.base import TextModel
    from tf_textgen.runs.recorded_config import RecordedConfig
    from tf_textgen.text.tokenizer import Tokenizer


def make_generator(
    config: RecordedConfig,
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
      config: the run's.
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
        prompt_format=prompt_format(config.model, config.data),
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        truncation_side=truncation_side(config.data),
        source_tokenizer=source_tokenizer,
        jit_compile=jit_compile,
    )


def prompt_format(model: str, data: DataConfig) -> PromptFormat:
    """Returns how the rows of a model's data begin; see `TextGenerator`.

    Args:
      model: name of the family.
      data: the training data.
    """
    if model_kind(model) == "encoder_decoder":
        return "source"
    if data.format != "text":
        return "pair"
    return "document" if data.batching == "packed" else "continuation"


def truncation_side(data: DataConfig) -> TruncationSide:
    """Returns the side that an over-long prompt loses.

    It is the side that `--data.over_long=cut` removes in a training.
    """
    return "beginning" if data.format in ("text", "dialogue") else "end"
