"""Prompts taken from a split."""

from __future__ import annotations

from tf_textgen.data.split import TokenizedSplit
from tf_textgen.generator import TextGenerator

_PROMPT_TOKENS = 12


def prompts_from(split: TokenizedSplit, generator: TextGenerator, count: int) -> list[str]:
    """Sources of pairs, or beginnings of text, from `count` places evenly over a split; none if
    `count` is 0.
    """
    if split.is_pairs:
        places = [i * split.num_documents // count for i in range(min(count, split.num_documents))]
        rows = [split.document("source", place) for place in places]
        tokenizer = generator.source_tokenizer
    else:
        places = [i * split.stream_tokens // count for i in range(count)]
        rows = [
            split.read(place, min(place + _PROMPT_TOKENS, split.stream_tokens)) for place in places
        ]
        tokenizer = generator.tokenizer
    texts = [tokenizer.detokenize(row[None, :]).numpy()[0] for row in rows if len(row)]
    # A space at the end would be a token of its own, which hardly ever stands before a word.
    return [text.decode(errors="ignore").rstrip() for text in texts]
