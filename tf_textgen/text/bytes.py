"""A tokenizer of bytes: 256 ordinary ids, nothing to learn, nothing unknown.

Reference: Xue et al. 2022, ByT5, arXiv:2105.13626, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_textgen.text.tokenizer import SPECIAL_PIECES, Tokenizer


class ByteTokenizer(Tokenizer):
    """Byte b has id b + 5. The round trip of any bytes is exact, UTF-8 or not."""

    kind = "bytes"

    def __init__(self) -> None:
        super().__init__([*SPECIAL_PIECES, *(bytes([value]) for value in range(256))])

    def files(self) -> dict[str, bytes]:
        return {}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> ByteTokenizer:
        return cls()

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        # ISO-8859-1 maps every byte to the code point of the same number.
        return tf.strings.unicode_decode(texts, "ISO-8859-1") + len(SPECIAL_PIECES)
