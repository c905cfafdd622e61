"""Configuration of decoding. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from tf_textgen.config import Config, field
from tf_textgen.decoding.parameter_table import (
    MAX_TOKENS,
    NEUTRAL,
    NO_SAMPLING,
    PARAMETERS,
    SEPARATOR,
    BeamParameters,
    Parameter,
    TextParameters,
)
from tf_textgen.errors import UserError

_FLOAT32_SMALLEST = 2.0**-126
_FLOAT32_LARGEST = (2 - 2**-23) * 2.0**127


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingConfig(BeamParameters, TextParameters, Config):
    """The parameters of the table, and those of a beam.

    By default a continuation is sampled from the distribution of the model.
    """

    prefix: ClassVar[str] = "decoding"

    num_samples: int = field(
        1, "Number of continuations of each prompt.", at_least=1, at_most=MAX_TOKENS
    )
    beam_width: int = field(
        1,
        "Number of hypotheses that a beam search keeps; 1 is no beam. Translation uses 4 to 8 (Wu "
        "et al. 2016).",
        at_least=1,
    )
    num_best: int = field(
        1, "Number of hypotheses of the beam that are returned for each prompt.", at_least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float):
                _check_float32(f"--{self.prefix}.{entry.name}={value}", value)
        if self.loop_repeats == 1:
            raise UserError(
                f"--{self.prefix}.loop_repeats=1 would end every text; expected at least 2, or 0"
            )
        for parameter in PARAMETERS:
            if parameter.not_above is not None:
                self._check_order(parameter.name, parameter.not_above)
            if parameter.several:
                self._check_texts(parameter)
        self._check_contradictions()
        self._check_beam()

    def replace(self, **changes: Any) -> DecodingConfig:
        """Returns a copy with other values, as `dataclasses.replace`."""
        return dataclasses.replace(self, **changes)

    @property
    def resolved_temperature(self) -> float:
        """The temperature, or its default, which depends on the beam."""
        return float(self.beam_width == 1) if self.temperature is None else self.temperature

    def _check_order(self, low: str, high: str) -> None:
        most = getattr(self, high)
        if most != NEUTRAL[high] and getattr(self, low) > most:
            raise UserError(
                f"--{self.prefix}.{low}={getattr(self, low)}: expected at most "
                f"--{self.prefix}.{high}={most}"
            )

    def _check_texts(self, parameter: Parameter) -> None:
        texts = getattr(self, parameter.name)
        flag = f"--{self.prefix}.{parameter.name}"
        if len(texts) > (parameter.most or math.inf):
            raise UserError(f"{flag}: {len(texts)} strings, expected at most {parameter.most}")
        for text in texts:
            size = len(text.encode())
            if not text or SEPARATOR in text:
                raise UserError(
                    f"{flag}={text!r}: expected a text that is not empty and has no {SEPARATOR!r}"
                )
            if size > (parameter.most_bytes or math.inf):
                raise UserError(
                    f"{flag}={text!r}: {size} bytes, expected at most {parameter.most_bytes}"
                )

    def _check_contradictions(self) -> None:
        """Raises `UserError` if a forced text contains a banned word or a stop string.

        Banned words are recognized by their tokens (`constraints.parse`). Without a tokenizer, this
        finds only those that are a whole word, or the whole text.
        """
        written = [("forced", text) for text in self.forced]
        written.append(("forced_prefix", self.forced_prefix))
        for name, text in written:
            words = {text, text.strip(), *text.split()}
            found = [("banned", one) for one in self.banned if one in words]
            found += [("stop", one) for one in self.stop if one in text]
            for forbidding, one in found:
                raise UserError(
                    f"--{self.prefix}.{name}={text!r} contains {one!r} of "
                    f"--{self.prefix}.{forbidding}; leave one of them out"
                )

    def _check_beam(self) -> None:
        beam = f"--{self.prefix}.beam_width={self.beam_width}"
        if self.num_best > self.beam_width:
            raise UserError(f"--{self.prefix}.num_best={self.num_best}: expected at most {beam}")
        if self.beam_width == 1:
            return
        for name, neutral in {**NO_SAMPLING, "num_samples": 1}.items():
            value = getattr(self, name)
            if value is not None and value != neutral:
                raise UserError(
                    f"{beam} and --{self.prefix}.{name}={value} contradict each other: a beam "
                    f"search does not sample; expected --{self.prefix}.{name}={neutral:g} or no "
                    "beam"
                )


def _check_float32(flag: str, value: float) -> None:
    if not math.isfinite(value):
        raise UserError(f"{flag}: expected a finite value")
    if value and not _FLOAT32_SMALLEST <= abs(value) <= _FLOAT32_LARGEST:
        bounds = f"{_FLOAT32_SMALLEST:.2g} to {_FLOAT32_LARGEST:.2g}, the range of float32"
        raise UserError(f"{flag}: expected a value of {bounds}")


def check_against_vocabulary(config: DecodingConfig, vocabulary_size: int) -> None:
    """Raises `UserError` if `config` needs more tokens than the vocabulary has."""
    if config.beam_width > vocabulary_size:
        raise UserError(
            f"--{config.prefix}.beam_width={config.beam_width}: expected at most "
            f"{vocabulary_size}, the size of the vocabulary"
        )
    if config.top_k > vocabulary_size:
        raise UserError(
            f"--{config.prefix}.top_k={config.top_k}: expected at most {vocabulary_size}, the "
            "size of the vocabulary; 0 keeps all tokens"
        )


def check_against_source(config: DecodingConfig, has_source: bool) -> None:
    """Raises `UserError` if `config` has lengths relative to a source that the model
    does not have.
    """
    if has_source:
        return
    for parameter in PARAMETERS:
        value = getattr(config, parameter.name)
        if parameter.needs_source and value != parameter.neutral:
            instead = parameter.name.replace("length_ratio", "new_tokens")
            raise UserError(
                f"--{config.prefix}.{parameter.name}={value}: this model continues texts and has "
                f"no source; leave it out, or set {instead}"
            )


def refusal(reason: str, config: DecodingConfig) -> str:
    """Returns the error of a row (`invalid NAME: expected ...`) with the flag and its value."""
    name, expected = reason.removeprefix("invalid ").split(": ", 1)
    return f"--{config.prefix}.{name}={getattr(config, name)}: {expected}"
