"""How a prompt becomes features of the model: tokens, their frame, and what an
over-long one loses.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import tensorflow as tf

from tf_textgen.models.base import TextModel
from tf_textgen.text.rows import keep_first, keep_last, pad_left, repeat_id
from tf_textgen.text.tokenizer import Tokenizer

PromptFormat = Literal["continuation", "document", "pair", "source"]
TruncationSide = Literal["beginning", "end"]


class Framed(NamedTuple):
    """Texts as the model reads them."""

    tokens: tf.RaggedTensor  # [B, None] int32, with the frame
    before: tf.Tensor  # [B] int32, how many tokens of the frame stand before the text's
    count: tf.Tensor  # [B] int32, how many tokens of the text are left
    truncated: tf.Tensor  # [B] bool, whether the text was cut


class PromptReader:
    """The layout of prompts: what all graphs of `TextGenerator` share, which says what the
    attributes are.
    """

    model: TextModel
    jit_compile: bool
    tokenizer: Tokenizer
    source_tokenizer: Tokenizer
    prompt_format: PromptFormat
    truncation_side: TruncationSide
    context: int | None
    max_new_tokens: int
    max_prompt_tokens: int

    @property
    def is_pair(self) -> bool:
        """Whether the model maps a source to a target."""
        return self.prompt_format in ("pair", "source")

    def _prompt_features(
        self, prompts: tf.Tensor, max_new_tokens: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Features of `TextModel.start`, and which prompts were cut `[B]` bool."""
        tokenizer = self.tokenizer
        if self.prompt_format == "source":
            source = self._source(prompts)
            count = tf.shape(prompts)[0]
            begin = {
                "target_tokens": tf.fill([count, 1], tokenizer.bos_id),
                "target_lengths": tf.ones([count], tf.int32),
            }
            return {**self._source_features(source), **begin}, source.truncated
        framed = self._framed(prompts, max_new_tokens)
        features = {
            "target_tokens": pad_left(framed.tokens, tokenizer.pad_id),
            "target_lengths": tf.cast(framed.tokens.row_lengths(), tf.int32),
        }
        return features, framed.truncated

    def _framed(self, prompts: tf.Tensor, max_new_tokens: tf.Tensor) -> Framed:
        """Prompts of a language model, with room for `max_new_tokens` (`[B]` int32)."""
        tokenizer = self.tokenizer
        tokens = self.source_tokenizer.tokenize(prompts)
        before, behind = self._frame(tokens)
        # Every new token needs its own position: what a row wants to add is taken from its prompt's
        # room.
        room = tf.fill(tf.shape(prompts), self.max_prompt_tokens)
        if self.context:
            room = tf.minimum(room, self.context - max_new_tokens)
        room = tf.maximum(room - before - behind, 0)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        kept = self._truncate(tokens, room)
        framed = tf.concat(
            [repeat_id(tokenizer.bos_id, before), kept, repeat_id(tokenizer.sep_id, behind)], axis=1
        )
        return Framed(framed, before, tf.minimum(lengths, room), lengths > room)

    def _truncate(self, tokens: tf.RaggedTensor, room: tf.Tensor) -> tf.RaggedTensor:
        """At most `room` (`[B]`) tokens of each prompt."""
        return (
            keep_first(tokens, room) if self.truncation_side == "end" else keep_last(tokens, room)
        )

    def _frame(self, tokens: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How many `<s>` stand before and how many `<sep>` behind each prompt, both `[B]` int32."""
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        before = (
            tf.cast(lengths == 0, tf.int32)
            if self.prompt_format == "continuation"
            else tf.ones_like(lengths)
        )
        behind = tf.ones_like(lengths) if self.prompt_format == "pair" else tf.zeros_like(lengths)
        return before, behind

    def _source(self, texts: tf.Tensor) -> Framed:
        """Sources of an encoder-decoder, with `</s>` at the end."""
        tokens = self.source_tokenizer.tokenize(texts)
        room = tf.fill(tf.shape(texts), self.max_prompt_tokens - 1)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        ended = tf.concat(
            [
                self._truncate(tokens, room),
                repeat_id(self.source_tokenizer.eos_id, tf.ones_like(room)),
            ],
            axis=1,
        )
        return Framed(ended, tf.zeros_like(room), tf.minimum(lengths, room), lengths > room)

    def _source_features(self, source: Framed) -> dict[str, tf.Tensor]:
        """`source_tokens` `[B, S]` right-padded, and `source_lengths` `[B]`."""
        return {
            "source_tokens": source.tokens.to_tensor(self.source_tokenizer.pad_id),
            "source_lengths": tf.cast(source.tokens.row_lengths(), tf.int32),
        }
