"""The log-probabilities of texts under a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from tf_textgen import config
from tf_textgen.errors import UserError
from tf_textgen.generator import TextGenerator, TextScore


def score_texts(
    generator: TextGenerator,
    texts: Iterable[str],
    *,
    batch_size: int,
    escapes: bool = False,
    per_token: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yields the score of each text.

    Args:
      generator: the run's generator.
      texts: texts, or `source TAB target` if the run is on pairs.
      batch_size: number of texts scored together.
      escapes: whether backslash escapes are read, after a pair is split.
      per_token: whether to add each token with its log-probability.

    Yields:
      `text`, `log_probability`, `token_count`, `perplexity`, `truncated`, and if `per_token` also
      `tokens` and `token_log_probabilities`.

    Raises:
      UserError: if a line is not a pair, or has an unknown escape.
    """
    remaining = iter(texts)
    while batch := list(islice(remaining, batch_size)):
        sources = None
        targets = batch
        if generator.is_pair:
            sources, targets = _split_pairs(batch)
        if escapes:
            targets = _unescape_all(targets)
            sources = sources and _unescape_all(sources)
        scores = TextScore(*map(np.asarray, generator.score(targets, sources)))
        for index, text in enumerate(batch):
            yield _row(text, scores, index, per_token=per_token)


def _row(text: str, scores: TextScore, index: int, *, per_token: bool) -> dict[str, Any]:
    count = int(scores.token_count[index])
    row = {
        "text": text,
        "log_probability": float(scores.log_probability[index]),
        "token_count": count,
        "perplexity": float(scores.perplexity[index]),
        "truncated": bool(scores.truncated[index]),
    }
    if per_token:
        values = scores.token_log_probabilities[index, :count]
        row["tokens"] = [token.decode() for token in scores.token_texts[index, :count]]
        row["token_log_probabilities"] = [round(float(value), 6) for value in values]
    return row


def _unescape_all(texts: Iterable[str]) -> list[str]:
    return [config.unescape(repr(text[:60]), text) for text in texts]


def _split_pairs(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    sources = []
    targets = []
    for line in lines:
        columns = line.split("\t")
        if len(columns) != 2:
            raise UserError(
                f"{line[:60]!r} has {len(columns)} tab-separated columns: expected source TAB "
                "target"
            )
        sources.append(columns[0])
        targets.append(columns[1])
    return sources, targets
