"""BLEU as sacreBLEU computes it: on raw text, so that figures of different papers can
be compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from tf_textgen.evaluation.scores import References, Scores, check_aligned
from tf_textgen.evaluation.words import is_chinese

TOKENIZERS = ("13a", "intl", "zh", "char", "none")


def bleu(
    hypotheses: Sequence[str], references: References, *, tokenizer: str | None = None
) -> Scores:
    """Corpus BLEU of 1- to 4-grams, 0 to 100.

    An n-gram counts if it stands in any of a text's references; the length is compared with the
    nearest one's.

    Args:
      hypotheses: the generated texts, detokenized.
      references: of each, as many as there are.
      tokenizer: one of `TOKENIZERS`; None takes sacreBLEU's `zh` where most letters of the
        references are Chinese, else its default `13a`.

    Returns:
      `bleu`, `bleu_brevity_penalty` (0 to 1) and `bleu_length_ratio` (generated to reference
      length), and sacreBLEU's signature.

    Raises:
      UserError: where texts and references are not aligned.

    Reference:
      Papineni et al., "BLEU", 2002; Post, "A Call for Clarity in Reporting BLEU Scores", 2018.
    """
    check_aligned(hypotheses, references)
    if tokenizer is None:
        tokenizer = "zh" if is_chinese(itertools.chain.from_iterable(references)) else "13a"
    metric = BLEU(tokenize=tokenizer, force=True)  # `force` silences a warning alone
    score = metric.corpus_score(list(hypotheses), columns_of(references))
    values = {
        "bleu": score.score,
        "bleu_brevity_penalty": score.bp,
        "bleu_length_ratio": score.ratio,
    }
    return Scores(values, f"BLEU|{metric.get_signature()}")


def columns_of(references: References) -> list[list[Any]]:
    """The references as sacreBLEU reads them: first ones, second ones, ..., None if a text has
    no more.

    `Any`, since its types do not say that it takes None, as its documentation does.
    """
    most = max(map(len, references))
    return [
        [several[place] if place < len(several) else None for several in references]
        for place in range(most)
    ]
