"""Texts as token ids and back, for clients that count tokens or store them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.generator.signature import TEXTS, Inputs, Signature, row_specs, text_inputs
from tf_textgen.text.decimal_ids import join_ids, split_ids
from tf_textgen.text.tokenizer import Tokenizer, repair_utf8


class Tokenized(NamedTuple):
    """The tokens of each text, without any frame; the outputs of the signature `tokenize`.

    Attributes:
      tokens: `[B]` string, ids in decimal with spaces between.
      token_count: `[B]` int32.
      token_texts: `[B, T]` string, "" beyond the end.
    """

    tokens: tf.Tensor
    token_count: tf.Tensor
    token_texts: tf.Tensor


class Detokenized(NamedTuple):
    """The text of each row of ids; the outputs of the signature `detokenize`.

    Attributes:
      text: `[B]` string, valid UTF-8, "" in bad rows.
      error: `[B]` string, the error of a bad row, or "".
    """

    text: tf.Tensor
    error: tf.Tensor


class TokenCodec:
    """Converts texts to token ids and back.

    Args:
      tokenizer: of the texts that the model writes; a source may have another.

    Attributes:
      tokenize_graph: `(texts [B] string) -> Tokenized`.
      detokenize_graph: `(tokens [B] string) -> Detokenized`; special ids have no text.
    """

    tokenize_graph: Callable[[tf.Tensor], Tokenized]
    detokenize_graph: Callable[[tf.Tensor], Detokenized]

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.tokenize_graph = tf.function(self._tokenize, autograph=False, input_signature=[TEXTS])
        self.detokenize_graph = tf.function(
            self._detokenize, autograph=False, input_signature=[TEXTS]
        )

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`tokenize` and `detokenize`."""
        return [
            Signature(
                name="tokenize",
                inputs=row_specs(text=tf.string),
                function=lambda text: self.tokenize_graph(text)._asdict(),
                example_inputs=text_inputs,
            ),
            Signature(
                name="detokenize",
                inputs=row_specs(tokens=tf.string),
                function=lambda tokens: self.detokenize_graph(tokens)._asdict(),
                example_inputs=self._example_ids,
            ),
        ]

    def _example_ids(self, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
        tokens = self.tokenize_graph(tf.constant(texts, tf.string)).tokens
        return {"tokens": [row.decode() for row in tokens.numpy()]}

    def _tokenize(self, texts: tf.Tensor) -> Tokenized:
        tokens = self.tokenizer.tokenize(texts)
        pieces = repair_utf8(tf.gather(self.tokenizer.pieces, tokens.flat_values))
        return Tokenized(
            tokens=join_ids(tokens),
            token_count=tf.cast(tokens.row_lengths(), tf.int32),
            token_texts=tokens.with_flat_values(pieces).to_tensor(""),
        )

    def _detokenize(self, texts: tf.Tensor) -> Detokenized:
        tokens = split_ids(texts)
        size = self.tokenizer.vocabulary_size
        too_large = tf.reduce_any(tokens >= size, axis=1)
        error = tf.where(too_large, f"invalid tokens: expected ids from 0 to {size - 1}", "")
        not_decimal = tf.reduce_any(tokens < 0, axis=1)
        error = tf.where(
            not_decimal, "invalid tokens: expected ids in decimal with spaces between", error
        )
        text = repair_utf8(self.tokenizer.detokenize(tokens))
        return Detokenized(text=tf.where(tf.equal(error, ""), text, ""), error=error)
