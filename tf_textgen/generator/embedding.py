"""A vector for each text: the mean of what the model knows after each of its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.generator.prompts import PromptReader
from tf_textgen.text.rows import pad_right


class TextEmbedding(NamedTuple):
    """One vector a text; zeros for a text without tokens."""

    embedding: tf.Tensor  # [B, D] float32
    token_count: tf.Tensor  # [B] int32, tokens of the mean
    truncated: tf.Tensor  # [B] bool, True if the text was cut, at `truncation_side`


class Embedding(PromptReader):
    """Vectors of texts, of a model that `has_hidden`.

    A text is read as a prompt is, or as a source if the model maps one. The tokens of the frame
    (`<s>`, `<sep>`, `</s>`) have a part in what is read, but not in the mean.

    Attributes:
      embed_graph: `(texts [B] string) -> TextEmbedding`.
    """

    embed_graph: Callable[[tf.Tensor], TextEmbedding]

    @property
    def has_vectors(self) -> bool:
        """Whether the model gives vectors of texts."""
        return self.model.has_hidden

    def _embed(self, texts: tf.Tensor) -> TextEmbedding:
        is_source = self.prompt_format == "source"
        framed = (
            self._source(texts)
            if is_source
            else self._framed(texts, tf.zeros(tf.shape(texts), tf.int32))
        )
        tokens = pad_right(framed.tokens, self.source_tokenizer.pad_id)
        lengths = framed.tokens.row_lengths()
        source = {"source_tokens": tokens, "source_lengths": tf.cast(lengths, tf.int32)}
        hidden = self.model.hidden(source if is_source else {"target_tokens": tokens})
        columns = tf.range(tf.shape(tokens)[1])
        first = framed.before[:, tf.newaxis]
        of_text = (columns >= first) & (columns < first + framed.count[:, tf.newaxis])
        total = tf.reduce_sum(
            tf.where(of_text[:, :, tf.newaxis], tf.cast(hidden, tf.float32), 0.0), axis=1
        )
        count = tf.cast(tf.maximum(framed.count, 1), tf.float32)
        return TextEmbedding(total / count[:, tf.newaxis], framed.count, framed.truncated)
