"""Text in, text out: a model, its tokenizers and decoding as graphs."""

from tf_textgen.decoding.continuation import Continuation
from tf_textgen.generator.generator import TextGenerator
from tf_textgen.generator.prompt_encoder import PromptFormat, TruncationSide
from tf_textgen.generator.results import (
    BestGeneration,
    Generation,
    to_best_continuations,
    to_continuations,
)
from tf_textgen.generator.scorer import TextScore

__all__ = [
    "BestGeneration",
    "Continuation",
    "Generation",
    "PromptFormat",
    "TextGenerator",
    "TextScore",
    "TruncationSide",
    "to_best_continuations",
    "to_continuations",
]
