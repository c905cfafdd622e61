"""Losses and metrics as sums of tokens."""

from tf_textgen.objectives.cross_entropy import (
    token_cross_entropy,
    token_hits,
    token_log_probabilities,
)
from tf_textgen.objectives.metrics import Perplexity, TokenCount, TokenMean

__all__ = [
    "Perplexity",
    "TokenCount",
    "TokenMean",
    "token_cross_entropy",
    "token_hits",
    "token_log_probabilities",
]
