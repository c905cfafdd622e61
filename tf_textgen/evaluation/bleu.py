"""BLEU as sacreBLEU computes it, on raw text, so that figures are comparable between papers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from tf_textgen.evaluation.scores import References, Scores, check_aligned
from tf_textgen.evaluation.word_tokens import is_chinese

TOKENIZERS = ("13a", "intl", "zh", "char", "none")


def bleu(
    hypotheses: Sequence[str], references: References, *, tokenizer: str | None = None
) -> Scores:
    """Corpus BLEU of 1- to 4-grams, 0 to 100.

    An n-gram counts if any reference of the text contains it. The length is compared with that of
    the nearest reference.

    Args:
      hypotheses: the generated texts, detokenized.
      references: the references of each text.
      tokenizer: one of `TOKENIZERS`; None is sacreBLEU's `zh` if most letters of the references are
        Chinese, else its default `13a`.

    Returns:
      `bleu`, `bleu_brevity_penalty` (0 to 1) and `bleu_length_ratio` (generated to reference
      length), and sacreBLEU's signature.

    Raises:
      UserError: if texts and references are not aligned.

    Reference:
      Papineni et al., "BLEU", 2002; Post, "A Call for Clarity in Reporting BLEU Scores", 2018.
    """
    check_aligned(hypotheses, references)
    if tokenizer is None:
        tokenizer = "zh" if is_chinese(itertools.chain.from_iterable(references)) else "13a"
    # `force` only silences a warning.
    metric = BLEU(tokenize=tokenizer, force=True)
    score = metric.corpus_score(list(hypotheses), columns_of(references))
    values = {
        "bleu": score.score,
        "bleu_brevity_penalty": score.bp,
        "bleu_length_ratio": score.ratio,
    }
    return Scores(values, f"BLEU|{metric.get_signature()}")


def columns_of(references: References) -> list[list[Any]]:
    """Returns the references as sacreBLEU reads them: the first ones, the second ones, ...

    A text with fewer references has None there. The type is `Any`, since sacreBLEU's types do not
    allow the None that its documentation describes.
    """
    return [list(column) for column in itertools.zip_longest(*references)]
