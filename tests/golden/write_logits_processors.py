"""Writes logits_processors.npz: random logits, and what the processors of Hugging Face transformers
make of them.

    python -m venv /tmp/golden
    /tmp/golden/bin/pip install torch==2.13.0 transformers==5.24.0
    /tmp/golden/bin/python tests/golden/write_logits_processors.py

`tests/decoding/golden_test.py` reads the file; nothing else here needs torch. Arrays: `small` and
`large` logits, their `tokens` (a sequence for each row, of which the last `NEW` are the
continuation), and for each processor the parameter
of every row and its output: the logits of a penalty, or `[B, V]` bool of the tokens that are left.
"""

import pathlib

import numpy as np
import torch
import transformers
from transformers.generation import logits_process

NEW = 12
NGRAMS = (1, 2, 2, 3, 3, 4, 1, 2, 3, 5, 2, 3)
BAD_WORDS = ([[5], [1, 2]], [[0, 1, 2], [3]], [[2], [2, 2], [2, 2, 2]], [[7, 1]])
CUTOFFS = {
    "top_k": (logits_process.TopKLogitsWarper, (1, 2, 3, 5, 8, 13, 21, 34, 50, 60, 80, 90)),
    "top_p": (
        logits_process.TopPLogitsWarper,
        (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
    ),
    "min_p": (
        logits_process.MinPLogitsWarper,
        (0.001, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 1.0),
    ),
    "typical": (
        logits_process.TypicalLogitsWarper,
        (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
    ),
    "epsilon": (
        logits_process.EpsilonLogitsWarper,
        (9e-5, 3e-4, 6e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 0.9),
    ),
    "eta": (
        logits_process.EtaLogitsWarper,
        (9e-5, 3e-4, 6e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 0.9),
    ),
}
PENALTIES = {
    "temperature": (
        logits_process.TemperatureLogitsWarper,
        (0.1, 0.2, 0.5, 0.7, 0.9, 1.0, 1.1, 1.3, 1.5, 2.0, 5.0, 9.0),
    ),
    "repetition": (
        logits_process.RepetitionPenaltyLogitsProcessor,
        (0.5, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 1.8, 2.0, 3.0, 9.0),
    ),
}


def apply(make, values, tokens, logits):
    """One row after the other, each with its own parameter."""
    rows = zip(values, torch.tensor(tokens), torch.tensor(logits), strict=True)
    return np.concatenate(
        [make(value)(row[None].long(), scores[None].clone()).numpy() for value, row, scores in rows]
    )


def main():
    rng = np.random.default_rng(0)
    spread = np.linspace(5, 0.3, 12)[:, None]  # the last rows keep hundreds of tokens
    logits = {
        "small": (rng.normal(size=(12, 97)) * spread).astype(np.float32),
        "large": (rng.normal(size=(12, 1500)) * spread).astype(np.float32),
    }
    tokens = rng.integers(0, 9, (12, 40)).astype(np.int32)
    arrays = {
        **logits,
        "tokens": tokens,
        "new": np.int32(NEW),
        "versions": [transformers.__version__, torch.__version__],
    }
    for name, (make, values) in CUTOFFS.items():
        arrays[f"{name}_values"] = np.array(values, np.int32 if name == "top_k" else np.float32)
        for size, given in logits.items():
            arrays[f"{name}_{size}"] = np.isfinite(apply(make, values, tokens, given))
    small = logits["small"]
    for name, (make, values) in PENALTIES.items():
        arrays[f"{name}_values"] = np.array(values, np.float32)
        arrays[f"{name}_small"] = apply(make, values, tokens, small)
    arrays["ngram_values"] = np.array(NGRAMS, np.int32)
    arrays["ngram_small"] = np.isfinite(
        apply(logits_process.NoRepeatNGramLogitsProcessor, NGRAMS, tokens, small)
    )
    words = [BAD_WORDS[row % len(BAD_WORDS)] for row in range(12)]
    arrays["bad_words"] = np.array([repr(row) for row in words])
    without_end = lambda given: logits_process.NoBadWordsLogitsProcessor(given, eos_token_id=None)  # noqa: E731
    arrays["bad_words_small"] = np.isfinite(apply(without_end, words, tokens, small))
    least = tuple(range(6, 18))

    def shortest(n):
        return logits_process.MinNewTokensLengthLogitsProcessor(40 - NEW, n, eos_token_id=3)

    arrays["min_new_values"] = np.array(least, np.int32)
    arrays["min_new_small"] = np.isfinite(apply(shortest, least, tokens, small))
    np.savez_compressed(pathlib.Path(__file__).with_name("logits_processors.npz"), **arrays)


if __name__ == "__main__":
    main()
