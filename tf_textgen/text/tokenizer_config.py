"""Which tokenizer to build and from how much text. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import Config, field


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Config):
    """How `build_tokenizer` makes a vocabulary."""

    prefix: ClassVar[str] = "tokenizer"

    kind: str = field(
        "sentencepiece",
        "What a token is; sentencepiece fits every language and loses nothing.",
        choices=("sentencepiece", "words", "characters", "bytes"),
    )
    algorithm: str = field(
        "unigram",
        "How sentencepiece chooses its pieces: unigram (Kudo 2018), or bpe (Sennrich et al. 2016).",
        choices=("unigram", "bpe"),
    )
    vocabulary_size: int = field(
        8_000,
        "Number of ids, the 5 special ones included: exact for sentencepiece, a limit for words and characters, "
        "without effect for bytes (always 261).",
        at_least=7,
    )
    minimum_frequency: int = field(
        1, "Words and characters seen less often in the sample become <unk>; sentencepiece ignores it.", at_least=1
    )
    character_coverage: float = field(
        0.9995,
        "Share of the sample's characters that sentencepiece must have as pieces; the rest is spelled in bytes.",
        above=0.0,
        at_most=1.0,
    )
    sample_bytes: int = field(
        50_000_000,
        "Bytes of text, drawn evenly from all that is given, from which the vocabulary is made; "
        "training sentencepiece takes up to about 30 times as much memory.",
        at_least=1_000,
    )
    seed: int = field(0, "Seed of that draw; the same text and seed give the same vocabulary.")
