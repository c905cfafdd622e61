"""ROUGE F1 as rouge-score computes it."""

from __future__ import annotations

import importlib.metadata
import itertools
import re
from collections.abc import Callable, Sequence

from rouge_score.rouge_scorer import RougeScorer

from tf_textgen.evaluation.scores import References, Scores, check_aligned, nref
from tf_textgen.evaluation.word_tokens import is_ascii, words

_KINDS = {"rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rouge_l"}


class _Tokens:
    """A tokenizer with the interface that `RougeScorer` expects."""

    def __init__(self, tokenize: Callable[[str], list[str]]) -> None:
        self.tokenize = tokenize


# The tokens of published figures for English, and words of any script (characters in Chinese).
TOKENIZERS = {
    "english": _Tokens(lambda text: re.findall("[a-z0-9]+", text.lower())),
    "unicode": _Tokens(lambda text: words(text.lower())),
}


def rouge(
    hypotheses: Sequence[str], references: References, *, tokenizer: str | None = None
) -> Scores:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1, 0 to 100: the mean over the texts, without stemming.

    Of several references the best one counts, separately for each of the three, as in rouge-score.

    Args:
      hypotheses: the generated texts.
      references: the references of each text.
      tokenizer: "english" uses lower-cased `[a-z0-9]+`, as published figures do; it splits French
        words and drops Chinese ones. "unicode" uses lower-cased words of any script, and single
        characters in Chinese and Japanese. None is "english" if 99 % of the letters of the
        references are those of English.

    Returns:
      `rouge1`, `rouge2`, `rouge_l`, and the signature of the metric.

    Raises:
      UserError: if texts and references are not aligned.

    Reference:
      Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, sections 2 and 3.
    """
    check_aligned(hypotheses, references)
    if tokenizer is None:
        tokenizer = "english" if is_ascii(itertools.chain.from_iterable(references)) else "unicode"
    scorer = RougeScorer(list(_KINDS), tokenizer=TOKENIZERS[tokenizer])
    sums = dict.fromkeys(_KINDS, 0.0)
    for hypothesis, several in zip(hypotheses, references, strict=True):
        for kind, score in scorer.score_multi(list(several), hypothesis).items():
            sums[kind] += score.fmeasure
    values = {name: 100.0 * float(sums[kind]) / len(hypotheses) for kind, name in _KINDS.items()}
    version = importlib.metadata.version("rouge-score")
    signature = (
        f"ROUGE F1|{nref(references)}|several:best|case:lc|stem:no|tok:{tokenizer}"
        f"|rouge-score:{version}"
    )
    return Scores(values, signature)
