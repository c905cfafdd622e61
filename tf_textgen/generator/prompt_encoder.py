"""The encoding of prompts: tokens, the frame around them, and the truncation of long ones."""

from __future__ import annotations

from typing import Literal, NamedTuple

import tensorflow as tf

from tf_textgen.decoding.search import Detokenize
from tf_textgen.text.rows import keep_first, keep_last, pad_left, repeat_id
from tf_textgen.text.tokenizer import Tokenizer

PromptFormat = Literal["continuation", "document", "pair", "source"]
TruncationSide = Literal["beginning", "end"]


class EncodedTexts(NamedTuple):
    """Texts as the model reads them.

    Attributes:
      tokens: `[B, None]` int32, with the frame.
      before: `[B]` int32, number of tokens of the frame before the text's own.
      count: `[B]` int32, number of tokens of the text that are kept.
      truncated: `[B]` bool, whether the text was cut.
    """

    tokens: tf.RaggedTensor
    before: tf.Tensor
    count: tf.Tensor
    truncated: tf.Tensor

    @property
    def lengths(self) -> tf.Tensor:
        """Number of tokens with the frame, `[B]` int32."""
        return tf.cast(self.tokens.row_lengths(), tf.int32)


class PromptEncoder:
    """Lays out prompts as the rows of the training began.

    Args:
      tokenizer: of the text that the model writes.
      source_tokenizer: of the text that the model reads.
      prompt_format: as `TextGenerator` takes it.
      truncation_side: the end that a long prompt loses.
      context: longest row that the model reads; None is unlimited.
      max_prompt_tokens: longest prompt, with its frame.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        source_tokenizer: Tokenizer,
        *,
        prompt_format: PromptFormat,
        truncation_side: TruncationSide,
        context: int | None,
        max_prompt_tokens: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.source_tokenizer = source_tokenizer
        self.prompt_format = prompt_format
        self.truncation_side = truncation_side
        self.context = context
        self.max_prompt_tokens = max_prompt_tokens

    @property
    def is_pair(self) -> bool:
        """Whether the model maps a source to a target."""
        return self.prompt_format in ("pair", "source")

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the source, in a row of its own."""
        return self.prompt_format == "source"

    @property
    def input_name(self) -> str:
        """The name of the text among the inputs of a signature."""
        return "source" if self.is_pair else "prompt"

    def features(
        self, prompts: tf.Tensor, max_new_tokens: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Features of `TextModel.start`, and which prompts were cut.

        Args:
          prompts: `[B]` string.
          max_new_tokens: `[B]` int32, the room that each prompt leaves.

        Returns:
          The features by name, and `[B]` bool.
        """
        tokenizer = self.tokenizer
        if self.has_encoder:
            source = self.encode_sources(prompts)
            count = tf.shape(prompts)[0]
            target = {
                "target_tokens": tf.fill([count, 1], tokenizer.bos_id),
                "target_lengths": tf.ones([count], tf.int32),
            }
            return {**self.source_features(source), **target}, source.truncated
        encoded = self.encode_prompts(prompts, max_new_tokens)
        features = {
            "target_tokens": pad_left(encoded.tokens, tokenizer.pad_id),
            "target_lengths": encoded.lengths,
        }
        return features, encoded.truncated

    def encode_prompts(self, prompts: tf.Tensor, max_new_tokens: tf.Tensor) -> EncodedTexts:
        """Prompts of a language model, in their frame.

        Args:
          prompts: `[B]` string.
          max_new_tokens: `[B]` int32. Every new token needs its own position, so that the tokens
            that a row may add reduce the room of its prompt.
        """
        tokenizer = self.tokenizer
        tokens = self.source_tokenizer.tokenize(prompts)
        before, behind = self._frame(tokens)
        room = tf.fill(tf.shape(prompts), self.max_prompt_tokens)
        if self.context:
            room = tf.minimum(room, self.context - max_new_tokens)
        room = tf.maximum(room - before - behind, 0)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        kept = self.truncate(tokens, room)
        begin = repeat_id(tokenizer.bos_id, before)
        separator = repeat_id(tokenizer.sep_id, behind)
        return EncodedTexts(
            tokens=tf.concat([begin, kept, separator], axis=1),
            before=before,
            count=tf.minimum(lengths, room),
            truncated=lengths > room,
        )

    def detokenize_after(self, prompts: tf.Tensor) -> Detokenize:
        """The function that makes texts of the tokens that follow `prompts`.

        A text continues its prompt, so that prompt and text can be concatenated. A target does not
        continue its source.

        Args:
          prompts: `[B]` string.

        Returns:
          `[R, N]` int32 -> `[R]` string, with as many rows for each prompt, one after the other.
        """
        if self.is_pair:
            return self.tokenizer.detokenize

        def detokenize(tokens: tf.Tensor) -> tf.Tensor:
            copies = tf.shape(tokens)[0] // tf.maximum(tf.shape(prompts)[0], 1)
            return self.tokenizer.continue_texts(tf.repeat(prompts, copies), tokens)

        return detokenize

    def encode_sources(self, texts: tf.Tensor) -> EncodedTexts:
        """Sources of an encoder, with `</s>` at the end."""
        tokens = self.source_tokenizer.tokenize(texts)
        room = tf.fill(tf.shape(texts), self.max_prompt_tokens - 1)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        kept = self.truncate(tokens, room)
        end = repeat_id(self.source_tokenizer.eos_id, tf.ones_like(room))
        return EncodedTexts(
            tokens=tf.concat([kept, end], axis=1),
            before=tf.zeros_like(room),
            count=tf.minimum(lengths, room),
            truncated=lengths > room,
        )

    def source_features(self, source: EncodedTexts) -> dict[str, tf.Tensor]:
        """`source_tokens` `[B, S]` right-padded, and `source_lengths` `[B]`."""
        return {
            "source_tokens": source.tokens.to_tensor(self.source_tokenizer.pad_id),
            "source_lengths": source.lengths,
        }

    def truncate(self, tokens: tf.RaggedTensor, room: tf.Tensor) -> tf.RaggedTensor:
        """At most `room` (`[B]` int32) tokens of each text."""
        if self.truncation_side == "end":
            return keep_first(tokens, room)
        return keep_last(tokens, room)

    def _frame(self, tokens: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Number of `<s>` before and of `<sep>` behind each prompt, both `[B]` int32."""
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        if self.prompt_format == "continuation":
            before = tf.cast(lengths == 0, tf.int32)
        else:
            before = tf.ones_like(lengths)
        behind = tf.ones_like(lengths) if self.prompt_format == "pair" else tf.zeros_like(lengths)
        return before, behind
