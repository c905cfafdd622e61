"""Beam search in plain Python, without an early stop: what the graph is judged by."""

from typing import NamedTuple

import numpy as np


class Hypothesis(NamedTuple):
    """One continuation; `normalized` is `total` over the length penalty."""

    tokens: tuple[int, ...]
    total: float = 0.0  # what is ranked
    score: float = 0.0  # the model's own log-probability
    reason: str = ""
    text: bytes = b""
    normalized: float = 0.0


def length_divisor(config, count):
    alpha = float(np.float32(config.length_penalty_alpha))
    return {"none": 1.0, "gnmt": ((5 + count) / 6) ** alpha, "average": float(count) ** alpha}[
        config.length_penalty
    ]


def log_sum_exp(values):
    best = values.max()
    return best + np.log(np.exp(values - best).sum())


def plain_beam_search(
    next_logits, adjust, config, *, eos_id, text_of, is_loop=lambda tokens: False
):
    """The n-best of one row, best first.

    Args:
      next_logits: tokens so far -> `[V]` of the model.
      adjust: (logits `[V]`, tokens so far) -> the logits as the processors leave them.
      config: a `DecodingConfig`.
      eos_id: the end token.
      text_of: tokens -> bytes.
      is_loop: tokens -> whether they go round in a loop.
    """
    running, ended = [Hypothesis(())], []
    while running:
        extended = []
        for place, parent in enumerate(running):
            own = np.asarray(next_logits(parent.tokens), np.float64)
            asked = np.asarray(adjust(own.astype(np.float32), parent.tokens), np.float64)
            ranked, scores = asked - log_sum_exp(np.maximum(asked, own)), own - log_sum_exp(own)
            for token in np.flatnonzero(np.isfinite(asked)):
                child = Hypothesis(
                    (*parent.tokens, int(token)),
                    parent.total + ranked[token],
                    parent.score + scores[token],
                )
                extended.append((-child.total, place, int(token), child))
        kept = [
            child for *_, child in sorted(extended, key=lambda item: item[:3])[: config.beam_width]
        ]
        kept = [_finish(child, config, eos_id, text_of, is_loop) for child in kept]
        running = [child for child in kept if not child.reason]
        ended += [child for child in kept if child.reason]
    return sorted(ended, key=lambda found: -found.normalized)[: config.num_best]


def _finish(child, config, eos_id, text_of, is_loop):
    text, reason = text_of(child.tokens), ""
    found = [text.find(stop.encode()) for stop in config.stop if stop.encode() in text]
    if found:
        text, reason = text[: min(found)], "stop"
    elif child.tokens[-1] == eos_id:
        reason = "eos"
    elif is_loop(child.tokens):
        reason = "loop"
    elif len(child.tokens) == config.max_new_tokens:
        reason = "length"
    normalized = child.total / length_divisor(config, len(child.tokens))
    return child._replace(reason=reason, text=text, normalized=normalized)
