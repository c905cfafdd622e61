"""Perplexity and bits per byte from a cross-entropy in nats."""

from __future__ import annotations

import math


def perplexity(nats_per_token: float) -> float:
    """e to the power of it; infinite if that is no longer a number."""
    return math.exp(nats_per_token) if nats_per_token < 700 else math.inf


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """Bits to write one byte of UTF-8: comparable over tokenizers."""
    return nats_per_token / (math.log(2) * bytes_per_token)
