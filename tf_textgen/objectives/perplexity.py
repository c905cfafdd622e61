"""Perplexity and bits per byte from a cross-entropy in nats."""

from __future__ import annotations

import math


def perplexity(nats_per_token: float) -> float:
    """e to the power of it; infinite if that is no longer a number."""
    return math.exp(nats_per_token) if nats_per_token < 700 else math.inf


def bits_per_byte(
    nats_per_token: float, bytes_per_token: float, unknown_byte_share: float = 0.0
) -> float:
    """Returns the bits to write one byte of UTF-8, which are comparable between tokenizers.

    An unknown token does not say which text it hides, so each byte that it hides costs 8 bits more.
    Otherwise a tokenizer that knows little of a text would seem to make it easy.

    Args:
      nats_per_token: cross-entropy of the tokens.
      bytes_per_token: of the text.
      unknown_byte_share: share of the bytes of the text that unknown tokens hide.
    """
    return nats_per_token / (math.log(2) * bytes_per_token) + 8.0 * unknown_byte_share
