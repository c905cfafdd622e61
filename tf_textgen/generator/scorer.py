"""The log-probability of given texts, by teacher forcing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.generator.prompt_encoder import PromptEncoder
from tf_textgen.generator.signature import TEXTS, Inputs, Signature, row_specs, text_inputs
from tf_textgen.models.base import TextModel
from tf_textgen.objectives.cross_entropy import token_log_probabilities
from tf_textgen.text.rows import keep_first, repeat_id
from tf_textgen.text.tokenizer import repair_utf8


class TextScore(NamedTuple):
    """Log-probabilities of given texts; the outputs of the signature `score`.

    Attributes:
      log_probability: `[B]` float32, nats.
      token_count: `[B]` int32.
      perplexity: `[B]` float32, `exp(-log_probability / token_count)`.
      token_log_probabilities: `[B, T]` float32, 0 beyond the end.
      token_texts: `[B, T]` string, "" beyond the end.
      truncated: `[B]` bool, whether the source was cut, at `truncation_side`, or the text lost its
        end.
    """

    log_probability: tf.Tensor
    token_count: tf.Tensor
    perplexity: tf.Tensor
    token_log_probabilities: tf.Tensor
    token_texts: tf.Tensor
    truncated: tf.Tensor


class _Context(NamedTuple):
    """The tokens before a scored text.

    Attributes:
      features: of the source, if an encoder reads it.
      tokens: `[B, None]` int32, before the first label.
      truncated: `[B]` bool, whether the source was cut.
    """

    features: dict[str, tf.Tensor]
    tokens: tf.RaggedTensor
    truncated: tf.Tensor


class Scorer:
    """Scores texts, given their sources if the model maps a source to a target.

    Args:
      model: gives the probabilities.
      encoder: makes tokens of the texts.
      longest: number of labels that a row may have, if the model's context is unlimited.

    Attributes:
      graph: `(sources [B] string, texts [B] string) -> TextScore`; the sources are ignored if the
        model maps none.
    """

    graph: Callable[[tf.Tensor, tf.Tensor], TextScore]

    def __init__(self, model: TextModel, encoder: PromptEncoder, *, longest: int) -> None:
        self.model = model
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        # The last label is not read by the model, hence one place more than its context has.
        self._places = 1 + (encoder.context or longest)
        self.graph = tf.function(self._score, autograph=False, input_signature=[TEXTS, TEXTS])

    def score(self, texts: Sequence[str], sources: Sequence[str] | None) -> TextScore:
        """Scores texts; raises `UserError` if sources are missing, not expected, or too few."""
        is_pair = self.encoder.is_pair
        if is_pair and sources is None:
            raise UserError("score: got no sources, expected a source for each text")
        if not is_pair and sources is not None:
            raise UserError("score: got sources, expected only texts")
        if sources is None:
            sources = [""] * len(texts)
        if len(sources) != len(texts):
            raise UserError(
                f"score: {len(sources)} sources and {len(texts)} texts, expected as many of each"
            )
        return self.graph(
            tf.constant(list(sources), tf.string), tf.constant(list(texts), tf.string)
        )

    def signatures(self, decoding: DecodingConfig) -> list[Signature]:
        """`score`: text, and source if the model maps one."""
        inputs = row_specs(text=tf.string)
        if self.encoder.is_pair:
            inputs |= row_specs(source=tf.string)
        return [
            Signature(
                name="score",
                inputs=inputs,
                function=self._answer,
                example_inputs=self._example_inputs,
            )
        ]

    def _answer(self, text: tf.Tensor, source: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        if source is None:
            source = tf.fill(tf.shape(text), "")
        return self.graph(source, text)._asdict()

    def _example_inputs(self, texts: Sequence[str], decoding: DecodingConfig) -> Inputs:
        inputs = text_inputs(texts, decoding)
        if self.encoder.is_pair:
            inputs["source"] = list(texts)
        return inputs

    def _score(self, sources: tf.Tensor, texts: tf.Tensor) -> TextScore:
        tokenizer = self.tokenizer
        tokens = tokenizer.tokenize(texts)
        # The end of a text belongs to a target; a text to be continued has no end.
        ends = tf.fill(tf.shape(texts), int(self.encoder.is_pair))
        labels = tf.concat([tokens, repeat_id(tokenizer.eos_id, ends)], axis=1)
        label_counts = tf.cast(labels.row_lengths(), tf.int32)
        features, before, source_cut = self._context(sources, self._places - label_counts)
        skipped = tf.cast(before.row_lengths(), tf.int32)
        room = tf.maximum(self._places - skipped, 0)
        truncated = source_cut | (label_counts > room)
        labels = keep_first(labels, room)
        inputs = tf.concat([before, labels], axis=1)
        counts = tf.cast(labels.row_lengths(), tf.int32)
        padded = inputs.to_tensor(tokenizer.pad_id)
        features["target_tokens"] = padded[:, :-1]
        logits = self.model(features, training=False)
        all_values = token_log_probabilities(logits, padded[:, 1:])
        values, present = _from_first_label(all_values, skipped, counts)
        total = tf.reduce_sum(values, axis=1)
        mean = total / tf.cast(tf.maximum(counts, 1), tf.float32)
        pieces = tf.gather(tokenizer.pieces, labels.to_tensor(tokenizer.pad_id))
        return TextScore(
            log_probability=total,
            token_count=counts,
            perplexity=tf.exp(-mean),
            token_log_probabilities=values,
            token_texts=tf.where(present, repair_utf8(pieces), ""),
            truncated=truncated,
        )

    def _context(self, sources: tf.Tensor, room: tf.Tensor) -> _Context:
        """The tokens before the labels; `room` (`[B]` int32) is left for them."""
        tokenizer = self.tokenizer
        encoder = self.encoder
        one = tf.ones(tf.shape(sources), tf.int32)
        if encoder.has_encoder:
            source = encoder.encode_sources(sources)
            features = encoder.source_features(source)
            return _Context(features, repeat_id(tokenizer.bos_id, one), source.truncated)
        if encoder.prompt_format == "pair":
            tokens = encoder.source_tokenizer.tokenize(sources)
            room = tf.maximum(tf.minimum(room, encoder.max_prompt_tokens) - 2, 0)
            kept = encoder.truncate(tokens, room)
            framed = [repeat_id(tokenizer.bos_id, one), kept, repeat_id(tokenizer.sep_id, one)]
            truncated = tf.cast(tokens.row_lengths(), tf.int32) > room
            return _Context({}, tf.concat(framed, axis=1), truncated)
        return _Context({}, repeat_id(tokenizer.bos_id, one), tf.zeros_like(one, tf.bool))


def _from_first_label(
    all_values: tf.Tensor, skipped: tf.Tensor, counts: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves each row to the left, so that it begins with its first label.

    Args:
      all_values: `[B, P]` float32, of each label of context and text.
      skipped: `[B]` int32, tokens of the context. The first label is behind the last of them.
      counts: `[B]` int32, labels of the text.

    Returns:
      `[B, T]` float32, 0 beyond the end, and `[B, T]` bool, whether there is a label.
    """
    width = tf.reduce_max(tf.concat([[0], counts], axis=0))
    columns = tf.range(width)[None, :]
    last = tf.maximum(tf.shape(all_values)[1] - 1, 0)
    at = tf.minimum(skipped[:, None] - 1 + columns, last)
    present = columns < counts[:, None]
    return tf.where(present, tf.gather(all_values, at, batch_dims=1), 0.0), present
