"""A tokenizer of words, as the classic language models use them (Mikolov et al. 2010)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tensorflow as tf

from tf_textgen.text.tokenizer import SPECIAL_PIECES, ListTokenizer, repair_utf8

_SPACES = r" \t\r\f\v"
_WORD = re.compile(rf"\n|[^\n{_SPACES}]+")


class WordTokenizer(ListTokenizer):
    """Splits text at spaces. A newline is a word, and words that are not in the list are `<unk>`.

    Detokenizing joins words with one space, and newlines without a space, so the round trip of a
    text with single spaces is exact. Words that continue a text are joined to its last word in the
    same way. A "<unk>" in the text, as in the Penn Treebank, is an ordinary
    word with its own id.

    Args:
      entries: the words, in the order of their ids from 5 on.

    Raises:
      UserError: if an entry is empty, contains a space or occurs twice.
    """

    kind = "words"

    def __init__(self, entries: Sequence[str]) -> None:
        super().__init__(entries)
        ids = len(SPECIAL_PIECES) + tf.range(len(entries))
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(entries, tf.string), ids),
            default_value=self.unk_id,
        )

    def unknown_bytes(self, texts: tf.Tensor) -> tf.Tensor:
        words = self._words(texts)
        unknown = tf.equal(self._table.lookup(words), self.unk_id)
        sizes = tf.cast(tf.strings.length(words), tf.int64)
        return tf.reduce_sum(tf.where(unknown, sizes, tf.zeros_like(sizes)), axis=1)

    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._table.lookup(self._words(texts))

    def _words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        texts = tf.strings.regex_replace(repair_utf8(texts), f"[{_SPACES}]+", " ")
        words = tf.strings.split(tf.strings.regex_replace(texts, "\n", " \n "), " ")
        return tf.ragged.boolean_mask(words, words != "")

    def _join(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        texts = tf.strings.reduce_join(tf.gather(self.pieces, tokens), axis=1, separator=" ")
        return tf.strings.regex_replace(texts, " ?\n ?", "\n")

    def _attach(self, texts: tf.Tensor, continuations: tf.Tensor) -> tf.Tensor:
        # Appended characters make the ends of empty texts defined.
        last = tf.strings.substr(tf.strings.join([" ", texts]), -1, 1)
        first = tf.strings.substr(tf.strings.join([continuations, "\n"]), 0, 1)
        ends_with_word = ~tf.strings.regex_full_match(last, f"[\n{_SPACES}]")
        starts_with_word = tf.not_equal(first, "\n")
        space = tf.where(ends_with_word & starts_with_word, " ", "")
        return tf.strings.join([space, continuations])

    def _is_token(self, entry: str) -> bool:
        return _WORD.fullmatch(entry) is not None


def split_words(text: str) -> list[str]:
    """Returns the words of a text as `WordTokenizer` splits it, in Python."""
    return _WORD.findall(text)
