"""How a continuation is chosen. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.errors import UserError

STOP_SEPARATOR = "\x1f"  # ASCII "unit separator": one string carries all stop strings of a row
MAX_STOPS = 16  # the search for stop strings takes memory in proportion to both numbers,
MAX_STOP_BYTES = 256  # and one row must not be able to starve its neighbours
LENGTH_PENALTIES = ("none", "gnmt", "average")
MAX_ALPHA = 10.0  # far beyond what helps (0 to 2), and no power of a length overflows
NO_SAMPLING = {"temperature": 0, "top_k": 0, "top_p": 1, "min_p": 0}  # what turns each parameter of sampling off
_INT64 = 2**63
_FLOAT32_SMALLEST, _FLOAT32_LARGEST = 2.0**-126, (2 - 2**-23) * 2.0**127
_SEED_STRIDE = 0x1E3779B97F4A7C15


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingConfig(Config):
    """Sampling from the model's own distribution, unless a flag narrows it."""

    prefix: ClassVar[str] = "decoding"

    temperature: float | None = field(
        None,
        "Divides the logits: 1 samples from the model's own distribution, 0 is greedy. None is 1, and 0 with a beam.",
        at_least=0.0,
    )
    top_k: int = field(0, "Samples among the k most probable tokens; 0 keeps all.", at_least=0)
    top_p: float = field(
        1.0, "Samples among the most probable tokens that hold this mass together; 1 keeps all.", above=0.0, at_most=1.0
    )
    min_p: float = field(
        0.0, "Drops tokens less probable than this part of the most probable one's.", at_least=0.0, at_most=1.0
    )
    repetition_penalty: float = field(
        1.0, "Weakens tokens that the prompt or the continuation has already; 1 does nothing.", above=0.0
    )
    min_new_tokens: int = field(0, "The end token is not chosen before this many tokens.", at_least=0)
    max_new_tokens: int = field(128, "A continuation ends after this many tokens.", at_least=1)
    stop: tuple[str, ...] = field((), "Ends the text before this string.", escapes=True)
    seed: int = field(0, "The same seed and prompt give the same text.", at_least=-_INT64, at_most=_INT64 - 1)
    num_samples: int = field(1, "Continuations of each prompt.", at_least=1)
    beam_width: int = field(
        1, "Hypotheses that a beam search keeps; 1 is no beam. 4 to 8 serve translation (Wu et al. 2016).", at_least=1
    )
    num_best: int = field(1, "The best hypotheses of the beam that are returned for each prompt.", at_least=1)
    length_penalty: str = field(
        "gnmt",
        "What divides a hypothesis' log-probability, n being its number of tokens: 1 (none), ((5 + n) / 6) ** alpha "
        "(gnmt), n ** alpha (average).",
        choices=LENGTH_PENALTIES,
    )
    length_penalty_alpha: float = field(
        0.6,
        "The larger, the longer the text; 0.6 is Vaswani et al.'s (2017, section 6.1).",
        at_least=0,
        at_most=MAX_ALPHA,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            value = getattr(self, name) or 0.0
            if not math.isfinite(value):
                raise UserError(f"--{self.prefix}.{name}={value}: expected a finite value")
            if value and not _FLOAT32_SMALLEST <= value <= _FLOAT32_LARGEST:
                bounds = f"{_FLOAT32_SMALLEST:.2g} to {_FLOAT32_LARGEST:.2g}, the range of float32"
                raise UserError(f"--{self.prefix}.{name}={value}: expected a value of {bounds}")
        if self.min_new_tokens > self.max_new_tokens:
            raise UserError(
                f"--{self.prefix}.min_new_tokens={self.min_new_tokens}: expected at most "
                f"--{self.prefix}.max_new_tokens={self.max_new_tokens}"
            )
        if len(self.stop) > MAX_STOPS:
            raise UserError(f"--{self.prefix}.stop: {len(self.stop)} strings came, expected at most {MAX_STOPS}")
        for text in self.stop:
            _check_stop(f"--{self.prefix}.stop={text!r}", text)
        self._check_beam()

    @property
    def resolved_temperature(self) -> float:
        """The temperature, also where nobody chose one."""
        return float(self.beam_width == 1) if self.temperature is None else self.temperature

    def _check_beam(self) -> None:
        beam = f"--{self.prefix}.beam_width={self.beam_width}"
        if self.num_best > self.beam_width:
            raise UserError(f"--{self.prefix}.num_best={self.num_best}: expected at most {beam}")
        neutrals = {**NO_SAMPLING, "num_samples": 1} if self.beam_width > 1 else {}
        for name, neutral in neutrals.items():
            value = getattr(self, name)
            if value is not None and value != neutral:
                raise UserError(
                    f"{beam} and --{self.prefix}.{name}={value} contradict each other: a beam search does not sample; "
                    f"expected --{self.prefix}.{name}={neutral} or no beam"
                )


def _check_stop(flag: str, text: str) -> None:
    if not text or STOP_SEPARATOR in text:
        raise UserError(f"{flag}: expected a text that is not empty and has no {STOP_SEPARATOR!r}")
    if len(text.encode()) > MAX_STOP_BYTES:
        raise UserError(f"{flag}: {len(text.encode())} bytes came, expected at most {MAX_STOP_BYTES}")


def check_against_vocabulary(config: DecodingConfig, vocabulary_size: int) -> None:
    """Raises `UserError` where `config` asks for more tokens than there are."""
    if config.beam_width > vocabulary_size:
        raise UserError(
            f"--{config.prefix}.beam_width={config.beam_width}: expected at most {vocabulary_size}, the vocabulary's "
            "size"
        )
    if config.top_k > vocabulary_size:
        raise UserError(
            f"--{config.prefix}.top_k={config.top_k}: expected at most {vocabulary_size}, the vocabulary's size; "
            "0 keeps all tokens"
        )


def sample_seed(seed: int, sample: int) -> int:
    """The seed, an int64, of one of a prompt's samples.

    The first keeps the seed, so it is the text that one sample alone would be. The others are far from the seeds that
    people choose, lest the second sample of seed 1 be the first of seed 2.
    """
    return (seed + sample * _SEED_STRIDE + _INT64) % (2 * _INT64) - _INT64


def refusal(reason: str, config: DecodingConfig) -> str:
    """What the graph says of a bad row (`invalid NAME: expected ...`) with the value that came."""
    name, expected = reason.removeprefix("invalid ").split(": ", 1)
    return f"--{config.prefix}.{name}={getattr(config, name)}: {expected}"
