"""Diversity of generated texts: the share of their n-grams that are distinct."""

from __future__ import annotations

from collections.abc import Sequence

from tf_textgen.evaluation.scores import Scores, check_any
from tf_textgen.evaluation.word_tokens import tokens


def distinct(texts: Sequence[str], *, sizes: Sequence[int] = (1, 2, 3)) -> Scores:
    """Distinct n-grams of all texts divided by all of their n-grams, 0 to 1.

    Higher is more diverse. The value falls with the amount of text, so compare only equal numbers
    of texts of equal length. Without any n-gram it is 0.

    Args:
      texts: the generated texts.
      sizes: of n-grams.

    Returns:
      `distinct_N` for each size, and the signature of the metric.

    Raises:
      UserError: if there is no text.

    Reference:
      Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016,
      section 5. It divides by the number of tokens; dividing by that of n-grams, as toolkits do, 1
      means no repetition for every n.
    """
    check_any(texts)
    split = [tokens(text) for text in texts]
    values = {}
    for size in sizes:
        grams = [tuple(row[i : i + size]) for row in split for i in range(len(row) - size + 1)]
        values[f"distinct_{size}"] = len(set(grams)) / max(len(grams), 1)
    return Scores(
        values,
        f"distinct|texts:{len(texts)}|tokens:{sum(map(len, split))}|case:mixed|tok:unicode+marks",
    )
