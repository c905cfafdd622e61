"""How a continuation is chosen. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.errors import UserError

SEPARATOR = (
    "\x1f"  # ASCII "unit separator": one string carries all stop strings, or words, of a row
)
MAX_STOPS = 16  # the search for stop strings takes memory in proportion to both numbers,
MAX_STOP_BYTES = 256  # and one row must not be able to starve its neighbours
MAX_BANNED = 256  # the same holds for words
MAX_FORCED = 16
MAX_WORD_BYTES = 64
LENGTH_PENALTIES = ("none", "gnmt", "average")
MAX_ALPHA = 10.0  # far beyond what helps (0 to 2), and no power of a length overflows
# What turns each parameter of sampling off.
NO_SAMPLING = {
    "temperature": 0,
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "typical_p": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
}
MAX_TOKENS = (
    2**20
)  # room for all tokens is made before the first: more is a slip of the finger, not a wish
_INT64 = 2**63
_FLOAT32_SMALLEST = 2.0**-126
_FLOAT32_LARGEST = (2 - 2**-23) * 2.0**127
_SEED_STRIDE = 0x1E3779B97F4A7C15


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingConfig(Config):
    """Sampling from the model's own distribution, unless a flag narrows it."""

    prefix: ClassVar[str] = "decoding"

    temperature: float | None = field(
        None,
        "Divides the logits: 1 samples from the model's own distribution, 0 is greedy. None is 1, "
        "and 0 with a beam.",
        at_least=0.0,
    )
    top_k: int = field(0, "Samples among the k most probable tokens; 0 keeps all.", at_least=0)
    top_p: float = field(
        1.0,
        "Samples among the most probable tokens that hold this mass together; 1 keeps all.",
        above=0.0,
        at_most=1.0,
    )
    min_p: float = field(
        0.0,
        "Drops tokens less probable than this part of the most probable one's.",
        at_least=0.0,
        at_most=1.0,
    )
    typical_p: float = field(
        1.0,
        "Samples among the tokens that are about as surprising as expected and hold this mass "
        "together; 1 keeps all.",
        above=0.0,
        at_most=1.0,
    )
    epsilon_cutoff: float = field(
        0.0, "Drops tokens less probable than this; 0 keeps all.", at_least=0.0, below=1.0
    )
    eta_cutoff: float = field(
        0.0,
        "Drops tokens less probable than this, and less than its square root if the next token "
        "is uncertain; 0 keeps all.",
        at_least=0.0,
        below=1.0,
    )
    repetition_penalty: float = field(
        1.0,
        "Weakens tokens that the prompt or the continuation has already; 1 does nothing.",
        above=0.0,
    )
    frequency_penalty: float = field(
        0.0,
        "Taken from a token's logit for each time the continuation has it.",
        at_least=-2.0,
        at_most=2.0,
    )
    presence_penalty: float = field(
        0.0,
        "Taken once from the logit of a token that the continuation has.",
        at_least=-2.0,
        at_most=2.0,
    )
    no_repeat_ngram: int = field(
        0,
        "No sequence of this many tokens comes twice in the prompt and the continuation (or in the "
        "target alone, if there is a source); 0 allows it.",
        at_least=0,
        at_most=MAX_TOKENS,
    )
    banned: tuple[str, ...] = field(
        (),
        "A word that is not written, with a space before it or without. It is known by its tokens: "
        "the same letters in other tokens are not.",
        escapes=True,
    )
    allowed: tuple[str, ...] = field(
        (),
        "Only the tokens of this text, and the end token, are chosen; of several texts all tokens.",
        escapes=True,
    )
    forced: tuple[str, ...] = field(
        (),
        "A word that the text has when it ends: if the model would end without it, or no more "
        "tokens are left than it takes, it is written as it stands here, spaces included.",
        escapes=True,
    )
    forced_prefix: str = field(
        "",
        "The text begins with this; its tokens count as new ones and belong to the score.",
        escapes=True,
    )
    min_new_tokens: int = field(
        0, "The end token is not chosen before this many tokens.", at_least=0
    )
    max_new_tokens: int = field(
        128, "A continuation ends after this many tokens.", at_least=1, at_most=MAX_TOKENS
    )
    min_length_ratio: float = field(
        0.0,
        "The end token is not chosen before this many tokens for each token of the source.",
        at_least=0.0,
    )
    max_length_ratio: float = field(
        0.0,
        "A continuation ends after this many tokens for each token of the source, or at "
        "max_new_tokens; 0: no bound.",
        at_least=0.0,
    )
    stop: tuple[str, ...] = field((), "Ends the text before this string.", escapes=True)
    loop_repeats: int = field(
        0,
        "Ends a text whose end is the same tokens this many times in a row, as degenerate texts "
        "do; 0 lets it continue.",
        at_least=0,
        at_most=MAX_TOKENS,
    )
    seed: int = field(
        0,
        "Without a beam: the same seed and prompt give the same text.",
        at_least=-_INT64,
        at_most=_INT64 - 1,
    )
    num_samples: int = field(1, "Continuations of each prompt.", at_least=1, at_most=MAX_TOKENS)
    beam_width: int = field(
        1,
        "Hypotheses that a beam search keeps; 1 is no beam. 4 to 8 serve translation (Wu et al. "
        "2016).",
        at_least=1,
    )
    num_best: int = field(
        1, "The best hypotheses of the beam that are returned for each prompt.", at_least=1
    )
    length_penalty: str = field(
        "gnmt",
        "With a beam: what divides a hypothesis' log-probability, n being its number of tokens: 1 "
        "(none), ((5 + n) / 6) ** alpha (gnmt), n ** alpha (average).",
        choices=LENGTH_PENALTIES,
    )
    length_penalty_alpha: float = field(
        0.6,
        "With a beam: the larger, the longer the text; 0.6 is Vaswani et al.'s (2017, section "
        "6.1).",
        at_least=0,
        at_most=MAX_ALPHA,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float):
                _check_float32(f"--{self.prefix}.{entry.name}={value}", value)
        if self.loop_repeats == 1:
            raise UserError(
                f"--{self.prefix}.loop_repeats=1: every text would end; expected at least 2, or 0"
            )
        self._check_order("min_new_tokens", "max_new_tokens")
        if self.max_length_ratio:
            self._check_order("min_length_ratio", "max_length_ratio")
        self._check_texts("stop", self.stop, MAX_STOPS, MAX_STOP_BYTES)
        self._check_texts("banned", self.banned, MAX_BANNED, MAX_WORD_BYTES)
        self._check_texts("forced", self.forced, MAX_FORCED, MAX_WORD_BYTES)
        self._check_texts("allowed", self.allowed)
        self._check_contradictions()
        self._check_beam()

    @property
    def resolved_temperature(self) -> float:
        """The temperature, also if nobody chose one."""
        return float(self.beam_width == 1) if self.temperature is None else self.temperature

    def _check_order(self, low: str, high: str) -> None:
        if getattr(self, low) > getattr(self, high):
            raise UserError(
                f"--{self.prefix}.{low}={getattr(self, low)}: expected at most "
                f"--{self.prefix}.{high}={getattr(self, high)}"
            )

    def _check_texts(
        self, name: str, texts: Sequence[str], most: float = math.inf, most_bytes: float = math.inf
    ) -> None:
        if len(texts) > most:
            raise UserError(
                f"--{self.prefix}.{name}: {len(texts)} strings came, expected at most {most}"
            )
        for text in texts:
            flag = f"--{self.prefix}.{name}={text!r}"
            size = len(text.encode())
            if not text or SEPARATOR in text:
                raise UserError(
                    f"{flag}: expected a text that is not empty and has no {SEPARATOR!r}"
                )
            if size > most_bytes:
                raise UserError(f"{flag}: {size} bytes came, expected at most {most_bytes}")

    def _check_contradictions(self) -> None:
        """What must be written may hold neither what must not nor what ends the text.

        A banned word is known by its tokens, which only a tokenizer knows (`constraints.parse`):
        here only those are found that stand as a whole word, or as all of the text.
        """
        written = [("forced", text) for text in self.forced] + [
            ("forced_prefix", self.forced_prefix)
        ]
        for name, text in written:
            words = {text, text.strip(), *text.split()}
            found = [("banned", one) for one in self.banned if one in words]
            found += [("stop", one) for one in self.stop if one in text]
            for forbidding, one in found:
                raise UserError(
                    f"--{self.prefix}.{name}={text!r}: has {one!r} of --{self.prefix}.{forbidding} "
                    "in it, and cannot be written; leave one of them out"
                )

    def _check_beam(self) -> None:
        beam = f"--{self.prefix}.beam_width={self.beam_width}"
        if self.num_best > self.beam_width:
            raise UserError(f"--{self.prefix}.num_best={self.num_best}: expected at most {beam}")
        neutrals = {**NO_SAMPLING, "num_samples": 1} if self.beam_width > 1 else {}
        for name, neutral in neutrals.items():
            value = getattr(self, name)
            if value is not None and value != neutral:
                raise UserError(
                    f"{beam} and --{self.prefix}.{name}={value} contradict each other: a beam "
                    f"search does not sample; expected --{self.prefix}.{name}={neutral} or no beam"
                )


def _check_float32(flag: str, value: float) -> None:
    if not math.isfinite(value):
        raise UserError(f"{flag}: expected a finite value")
    if value and not _FLOAT32_SMALLEST <= abs(value) <= _FLOAT32_LARGEST:
        bounds = f"{_FLOAT32_SMALLEST:.2g} to {_FLOAT32_LARGEST:.2g}, the range of float32"
        raise UserError(f"{flag}: expected a value of {bounds}")


def check_against_vocabulary(config: DecodingConfig, vocabulary_size: int) -> None:
    """Raises `UserError` if `config` asks for more tokens than there are."""
    if config.beam_width > vocabulary_size:
        raise UserError(
            f"--{config.prefix}.beam_width={config.beam_width}: expected at most "
            f"{vocabulary_size}, the vocabulary's size"
        )
    if config.top_k > vocabulary_size:
        raise UserError(
            f"--{config.prefix}.top_k={config.top_k}: expected at most {vocabulary_size}, the "
            "vocabulary's size; 0 keeps all tokens"
        )


def check_against_source(config: DecodingConfig, has_source: bool) -> None:
    """Raises `UserError` if `config` speaks of a source that there is not."""
    for name in ("min_length_ratio", "max_length_ratio"):
        if getattr(config, name) and not has_source:
            raise UserError(
                f"--{config.prefix}.{name}={getattr(config, name)}: this model continues texts and "
                f"has no source; leave it out, or set {name.replace('length_ratio', 'new_tokens')}"
            )


def sample_seed(seed: int, sample: int) -> int:
    """The seed, an int64, of one of a prompt's samples.

    The first keeps the seed, so it is the text that one sample alone would be. The others are far
    from the seeds that people choose, lest the second sample of seed 1 be the first of seed 2.
    """
    return (seed + sample * _SEED_STRIDE + _INT64) % (2 * _INT64) - _INT64


def refusal(reason: str, config: DecodingConfig) -> str:
    """What the graph says of a bad row (`invalid NAME: expected ...`) with the value that came."""
    name, expected = reason.removeprefix("invalid ").split(": ", 1)
    return f"--{config.prefix}.{name}={getattr(config, name)}: {expected}"
