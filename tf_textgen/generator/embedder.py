"""A vector for each text: the mean of the model's hidden states over its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.generator.prompt_encoder import PromptEncoder
from tf_textgen.generator.signature import TEXTS, Signature, row_specs, text_inputs
from tf_textgen.models.base import TextModel
from tf_textgen.text.rows import pad_right


class TextEmbedding(NamedTuple):
    """One vector for each text; the outputs of the signature `embed`.

    Attributes:
      embedding: `[B, D]` float32, zeros for a text without tokens.
      token_count: `[B]` int32, tokens of the mean.
      truncated: `[B]` bool, whether the text was cut, at `truncation_side`.
    """

    embedding: tf.Tensor
    token_count: tf.Tensor
    truncated: tf.Tensor


class Embedder:
    """Computes vectors of texts, by a model that `has_hidden`.

    A text is read as a prompt is, or as a source if the model maps one. The tokens of the frame
    (`<s>`, `<sep>`, `</s>`) are read too, but do not count in the mean.

    Args:
      model: gives the hidden states.
      encoder: makes tokens of the texts.

    Attributes:
      graph: `(texts [B] string) -> TextEmbedding`.
    """

    graph: Callable[[tf.Tensor], TextEmbedding]

    def __init__(self, model: TextModel, encoder: PromptEncoder) -> None:
        self.model = model
        self.encoder = encoder
        self.graph = tf.function(self._embed, autograph=False, input_signature=[TEXTS])

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`embed`: text."""
        return [
            Signature(
                name="embed",
                inputs=row_specs(text=tf.string),
                function=lambda text: self.graph(text)._asdict(),
                example_inputs=text_inputs,
            )
        ]

    def _embed(self, texts: tf.Tensor) -> TextEmbedding:
        encoder = self.encoder
        if encoder.has_encoder:
            encoded = encoder.encode_sources(texts)
        else:
            encoded = encoder.encode_prompts(texts, tf.zeros(tf.shape(texts), tf.int32))
        tokens = pad_right(encoded.tokens, encoder.source_tokenizer.pad_id)
        if encoder.has_encoder:
            features = {"source_tokens": tokens, "source_lengths": encoded.lengths}
        else:
            features = {"target_tokens": tokens}
        hidden = tf.cast(self.model.hidden(features), tf.float32)
        columns = tf.range(tf.shape(tokens)[1])
        first = encoded.before[:, tf.newaxis]
        in_text = (columns >= first) & (columns < first + encoded.count[:, tf.newaxis])
        total = tf.reduce_sum(tf.where(in_text[:, :, tf.newaxis], hidden, 0.0), axis=1)
        count = tf.cast(tf.maximum(encoded.count, 1), tf.float32)
        return TextEmbedding(
            embedding=total / count[:, tf.newaxis],
            token_count=encoded.count,
            truncated=encoded.truncated,
        )
