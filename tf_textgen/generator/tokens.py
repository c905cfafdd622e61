"""Texts as token ids and back, for whoever counts tokens or keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.generator.prompts import PromptReader
from tf_textgen.text.decimal_ids import join_ids, split_ids
from tf_textgen.text.tokenizer import repair_utf8


class Tokenized(NamedTuple):
    """The tokens of each text, without any frame."""

    tokens: tf.Tensor  # [B] string, ids in decimal with spaces between
    token_count: tf.Tensor  # [B] int32
    token_texts: tf.Tensor  # [B, T] string, "" behind the end


class Detokenized(NamedTuple):
    """The text of each row of ids."""

    text: tf.Tensor  # [B] string, valid UTF-8, "" in bad rows
    error: tf.Tensor  # [B] string, what is wrong with a row, or ""


class Tokenizing(PromptReader):
    """The tokenizer of what the model writes; a source may have another.

    Attributes:
      tokenize_graph: `(texts [B] string) -> Tokenized`.
      detokenize_graph: `(tokens [B] string) -> Detokenized`; special ids have no text.
    """

    tokenize_graph: Callable[[tf.Tensor], Tokenized]
    detokenize_graph: Callable[[tf.Tensor], Detokenized]

    def _tokenize(self, texts: tf.Tensor) -> Tokenized:
        tokens = self.tokenizer.tokenize(texts)
        pieces = tokens.with_flat_values(
            repair_utf8(tf.gather(self.tokenizer.pieces, tokens.flat_values))
        )
        return Tokenized(
            join_ids(tokens), tf.cast(tokens.row_lengths(), tf.int32), pieces.to_tensor("")
        )

    def _detokenize(self, texts: tf.Tensor) -> Detokenized:
        tokens = split_ids(texts)
        size = self.tokenizer.vocabulary_size
        foreign = tf.reduce_any(tokens >= size, axis=1)
        error = tf.where(foreign, f"invalid tokens: expected ids from 0 to {size - 1}", "")
        no_number = tf.reduce_any(tokens < 0, axis=1)
        error = tf.where(
            no_number, "invalid tokens: expected ids in decimal with spaces between", error
        )
        text = repair_utf8(self.tokenizer.detokenize(tokens))
        return Detokenized(tf.where(tf.equal(error, ""), text, ""), error)
