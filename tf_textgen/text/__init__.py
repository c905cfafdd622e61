"""Strings to ids and back, as TensorFlow ops.

    tokenizer = build_tokenizer(TokenizerConfig(kind="characters"), ["To be, or not to be"])
    tokenizer.tokenize(tf.constant(["not to be"]))   # --> RaggedTensor [1, None] int32

Importing this package, and `tokenizer_config`, does not import TensorFlow; the two functions do
when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tf_textgen.text.tokenizer_config import TokenizerConfig

if TYPE_CHECKING:
    from tf_textgen.text.tokenizer import Tokenizer

__all__ = ["TokenizerConfig", "build_tokenizer", "load_tokenizer"]


def build_tokenizer(config: TokenizerConfig, documents: Iterable[bytes | str]) -> Tokenizer:
    """See `tf_textgen.text.vocabulary.build_tokenizer`."""
    from tf_textgen.text import vocabulary

    return vocabulary.build_tokenizer(config, documents)


def load_tokenizer(directory: str | os.PathLike[str]) -> Tokenizer:
    """See `tf_textgen.text.vocabulary.load_tokenizer`."""
    from tf_textgen.text import vocabulary

    return vocabulary.load_tokenizer(directory)
