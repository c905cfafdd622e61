"""The log-probability of given texts, by teacher forcing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.generator.prompts import PromptReader
from tf_textgen.objectives.cross_entropy import token_log_probabilities
from tf_textgen.text.rows import keep_first, repeat_id
from tf_textgen.text.tokenizer import repair_utf8


class TextScore(NamedTuple):
    """Log-probabilities of given texts."""

    log_probability: tf.Tensor  # [B] float32, nats
    token_count: tf.Tensor  # [B] int32
    perplexity: tf.Tensor  # [B] float32, exp(-log_probability / token_count)
    token_log_probabilities: tf.Tensor  # [B, T] float32, 0 behind the end
    token_texts: tf.Tensor  # [B, T] string, "" behind the end
    truncated: (
        tf.Tensor
    )  # [B] bool, True if the source was cut, at `truncation_side`, or the text lost its end


class Scoring(PromptReader):
    """Scores of texts.

    Attributes:
      score_graph: `(sources [B] string, texts [B] string) -> TextScore`; sources are not read of a
        text only.
    """

    score_graph: Callable[[tf.Tensor, tf.Tensor], TextScore]

    def score(self, texts: Sequence[str], sources: Sequence[str] | None = None) -> TextScore:
        """Log-probability of each text, or of one, given its source if the model maps a source
        to a target.

        Raises:
          UserError: where sources are missing, not wanted, or of another number.
        """
        texts = [texts] if isinstance(texts, str) else texts
        sources = [sources] if isinstance(sources, str) else sources
        if self.is_pair != (sources is not None):
            wanted = "a source for each text" if self.is_pair else "texts alone"
            raise UserError(
                f"score: got {'no sources' if self.is_pair else 'sources'}, expected {wanted}"
            )
        if sources is not None and len(sources) != len(texts):
            raise UserError(
                f"score: {len(sources)} sources and {len(texts)} texts, expected as many of each"
            )
        given = list(sources) if sources is not None else [""] * len(texts)
        return self.score_graph(tf.constant(given, tf.string), tf.constant(list(texts), tf.string))

    def _score(self, sources: tf.Tensor, texts: tf.Tensor) -> TextScore:
        tokenizer = self.tokenizer
        tokens = tokenizer.tokenize(texts)
        # The end of a text belongs to a target; a text to be continued has none.
        ends = tf.fill(tf.shape(texts), int(self.is_pair))
        labels = tf.concat([tokens, repeat_id(tokenizer.eos_id, ends)], axis=1)
        # The last label is not read, hence the one more.
        places = 1 + (self.context or self.max_new_tokens + self.max_prompt_tokens)
        wanted = tf.cast(labels.row_lengths(), tf.int32)
        features, before, source_cut = self._score_context(sources, places - wanted)
        skipped = tf.cast(before.row_lengths(), tf.int32)
        room = tf.maximum(places - skipped, 0)
        truncated = source_cut | (wanted > room)
        labels = keep_first(labels, room)
        inputs = tf.concat([before, labels], axis=1)
        counts = tf.cast(labels.row_lengths(), tf.int32)
        padded = inputs.to_tensor(tokenizer.pad_id)
        features["target_tokens"] = padded[:, :-1]
        logits = self.model(features, training=False)
        all_log_probabilities = token_log_probabilities(logits, padded[:, 1:])
        # The first label stands behind the last token of the context: shift each row to begin
        # there.
        width = tf.reduce_max(tf.concat([[0], counts], axis=0))
        columns = tf.range(width)[None, :]
        at = tf.minimum(skipped[:, None] - 1 + columns, tf.maximum(tf.shape(padded)[1] - 2, 0))
        present = columns < counts[:, None]
        values = tf.where(present, tf.gather(all_log_probabilities, at, batch_dims=1), 0.0)
        total = tf.reduce_sum(values, axis=1)
        mean = total / tf.cast(tf.maximum(counts, 1), tf.float32)
        pieces = tf.gather(tokenizer.pieces, labels.to_tensor(tokenizer.pad_id))
        return TextScore(
            total,
            counts,
            tf.exp(-mean),
            values,
            tf.where(present, repair_utf8(pieces), ""),
            truncated,
        )

    def _score_context(
        self, sources: tf.Tensor, room: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor, tf.Tensor]:
        """Features of the source, what stands before the first label (`[B]` `room` for it), which
        sources were cut.
        """
        tokenizer = self.tokenizer
        one = tf.ones(tf.shape(sources), tf.int32)
        if self.prompt_format == "source":
            source = self._source(sources)
            return self._source_features(source), repeat_id(tokenizer.bos_id, one), source.truncated
        if self.prompt_format == "pair":
            tokens = self.source_tokenizer.tokenize(sources)
            room = tf.maximum(tf.minimum(room, self.max_prompt_tokens) - 2, 0)
            kept = self._truncate(tokens, room)
            framed = [repeat_id(tokenizer.bos_id, one), kept, repeat_id(tokenizer.sep_id, one)]
            return {}, tf.concat(framed, axis=1), tf.cast(tokens.row_lengths(), tf.int32) > room
        return {}, repeat_id(tokenizer.bos_id, one), tf.zeros_like(one, tf.bool)
