"""A tokenizer of Unicode code points. Rare ones are unknown."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_textgen.text.tokenizer import SPECIAL_PIECES, ListTokenizer


class CharacterTokenizer(ListTokenizer):
    """Each code point of a list has an id; all others are `<unk>`.

    Args:
      entries: the characters, strings of one code point, in the order of their ids from 5 on.

    Raises:
      UserError: if an entry is not one code point, or occurs twice.
    """

    kind = "characters"

    def __init__(self, entries: Sequence[str]) -> None:
        super().__init__(entries)
        code_points = tf.constant([ord(entry) for entry in entries], tf.int32)
        ids = len(SPECIAL_PIECES) + tf.range(len(entries))
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(code_points, ids), default_value=self.unk_id
        )

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._table.lookup(tf.strings.unicode_decode(texts, "UTF-8", errors="replace"))

    def unknown_bytes(self, texts: tf.Tensor) -> tf.Tensor:
        code_points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        unknown = tf.equal(self._table.lookup(code_points), self.unk_id)
        characters = tf.strings.unicode_encode(code_points[..., tf.newaxis], "UTF-8")
        sizes = tf.cast(tf.strings.length(characters), tf.int64)
        return tf.reduce_sum(tf.where(unknown, sizes, tf.zeros_like(sizes)), axis=1)

    def _is_token(self, entry: str) -> bool:
        return len(entry) == 1 and not 0xD800 <= ord(entry) < 0xE000
