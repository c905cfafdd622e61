"""chrF as sacreBLEU computes it: the F-score of character n-grams, which needs no tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.chrf import CHRF

from tf_textgen.evaluation.bleu import columns_of
from tf_textgen.evaluation.scores import References, Scores, check_aligned


def chrf(hypotheses: Sequence[str], references: References) -> Scores:
    """Corpus chrF2, 0 to 100: characters 1 to 6, recall twice as important as precision.

    Of several references, the best one of each text counts.

    Args:
      hypotheses: the generated texts.
      references: the references of each text.

    Returns:
      `chrf` and sacreBLEU's signature.

    Raises:
      UserError: if texts and references are not aligned.

    Reference:
      Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015.
    """
    check_aligned(hypotheses, references)
    metric = CHRF()
    score = metric.corpus_score(list(hypotheses), columns_of(references))
    return Scores({"chrf": score.score}, f"chrF2|{metric.get_signature()}")
