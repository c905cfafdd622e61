"""A generated text as Python values, from a graph or from a server. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """One generated text.

    Attributes:
      prompt: the text that it continues, or the source that it maps.
      text: without the prompt, to which it is appended as it is.
      score: sum of the tokens' log-probabilities, nats.
      token_count: number of tokens, with the end token.
      finish_reason: "eos", "length", "stop" or "loop".
      prompt_truncated: whether the prompt was cut.
      token_log_probabilities: of each token, nats; empty if the signature gives none.
      token_texts: of each token; empty if the signature gives none.
      sample: number among the samples of one prompt.
      rank: place among the n best of a beam; 0 is the best.
      normalized_score: the score of a beam's text, divided by the length penalty.
    """

    prompt: str
    text: str
    score: float
    token_count: int
    finish_reason: str
    prompt_truncated: bool
    token_log_probabilities: tuple[float, ...] = ()
    token_texts: tuple[str, ...] = ()
    sample: int = 0
    rank: int = 0
    normalized_score: float | None = None
