"""Configuration of a tokenizer. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.errors import UserError

KINDS_WITH_SYMBOLS = ("sentencepiece", "words")
DESCRIPTION_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocabulary.json"
SENTENCEPIECE_FILE = "sentencepiece.model"
TOKENIZER_FILES = (DESCRIPTION_FILE, VOCABULARY_FILE, SENTENCEPIECE_FILE)
"""The files in the folder of a tokenizer."""
SPECIAL_NAMES = ("<pad>", "<unk>", "<s>", "</s>", "<sep>")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Config):
    """The kind of a tokenizer, and the text that its vocabulary is built from."""

    prefix: ClassVar[str] = "tokenizer"

    kind: str = field(
        "sentencepiece",
        "The kind of token; sentencepiece fits every language and loses nothing.",
        choices=("sentencepiece", "words", "characters", "bytes"),
    )
    algorithm: str = field(
        "unigram",
        "The algorithm of sentencepiece: unigram (Kudo 2018) or bpe (Sennrich et al. 2016).",
        choices=("unigram", "bpe"),
    )
    vocabulary_size: int = field(
        8_000,
        "Number of ids with the 5 special ones: exact for sentencepiece, a limit for words and "
        "characters, without effect for bytes (always 261).",
        at_least=7,
    )
    symbols: tuple[str, ...] = field(
        (),
        "A string that is always one token, such as the name of a speaker: anywhere for "
        "sentencepiece, between spaces for words. Characters and bytes have no symbols.",
    )
    shared: bool = field(
        True,
        "One vocabulary for source and target of pairs. false builds one for each side, for "
        "encoder-decoders only: the vocabulary of the targets is then smaller, but a name is no "
        "longer copied by its token.",
    )
    minimum_frequency: int = field(
        1,
        "Words and characters that are rarer in the sample become <unk>; sentencepiece ignores it.",
        at_least=1,
    )
    character_coverage: float = field(
        0.9995,
        "Share of the characters of the sample that are pieces of sentencepiece; the others are "
        "encoded as bytes. SentencePiece accepts at least 0.98.",
        at_least=0.98,
        at_most=1.0,
    )
    sample_bytes: int = field(
        50_000_000,
        "Bytes of text, drawn uniformly from all, that the vocabulary is built from; training "
        "sentencepiece takes up to about 30 times as much memory.",
        at_least=1_000,
    )
    seed: int = field(0, "Seed of the sample; the same text and seed give the same vocabulary.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for place, symbol in enumerate(self.symbols):
            self._check_symbol(symbol, symbol in self.symbols[:place])
        # A newline and at least one piece of text.
        fewest = len(SPECIAL_NAMES) + 1 + len(self.symbols) + 1
        if self.symbols and self.vocabulary_size < fewest:
            raise UserError(
                f"--tokenizer.vocabulary_size={self.vocabulary_size} with {len(self.symbols)} "
                f"symbols: expected at least {fewest}; raise it or leave symbols out"
            )

    def _check_symbol(self, symbol: str, twice: bool) -> None:
        flag = f"--tokenizer.symbols={symbol}"
        if self.kind not in KINDS_WITH_SYMBOLS:
            raise UserError(
                f"{flag} with --tokenizer.kind={self.kind}: expected "
                f"{' or '.join(KINDS_WITH_SYMBOLS)}, since {self.kind} spell it out; leave it out "
                "or choose another kind"
            )
        if twice or symbol.split() != [symbol] or symbol in SPECIAL_NAMES:
            raise UserError(
                f"{flag}: expected different strings without white space, none of "
                f"{', '.join(SPECIAL_NAMES)}; choose another"
            )
