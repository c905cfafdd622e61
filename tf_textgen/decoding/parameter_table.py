"""The table of decoding parameters.

A field defines everything that depends on a parameter: its flag, its input in a signature, the
check of a request, its default in the client, and the operation that uses it. A new cut-off needs
an operation in `cutoffs` and a field here.

Uses only the standard library: flags are parsed before TensorFlow is imported, and clients do not
have it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_textgen.fields import field

# ASCII "unit separator": one string contains all strings of a parameter of a row.
SEPARATOR = "\x1f"
# Bounds of the strings of a row. The search for stop strings and words takes memory in proportion
# to number and size, and one row must not be able to starve the others.
MAX_STOPS = 16
MAX_STOP_BYTES = 256
MAX_BANNED = 256
MAX_FORCED = 16
MAX_WORD_BYTES = 64
# Memory for all tokens is allocated before the first is generated, so a larger number is a mistake.
MAX_TOKENS = 2**20
LENGTH_PENALTIES = ("none", "gnmt", "average")
# Useful values are 0 to 2, and no power of a length overflows.
MAX_ALPHA = 10.0
_INT64 = 2**63
_SEED_STRIDE = 0x1E3779B97F4A7C15
_CUTOFFS = "tf_textgen.decoding.cutoffs"
_REPETITION = "tf_textgen.decoding.repetition"
# The annotation of a field -> the dtype of its input.
_DTYPES = {
    "float": "float32",
    "float | None": "float32",
    "int": "int32",
    "str": "string",
    "tuple[str, ...]": "string",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameter:
    """A row of the table, as derived from a field of `TextParameters` or `BeamParameters`.

    Attributes:
      name: of the flag, of the input and in the client.
      dtype: float32, int32, int64 or string.
      default: of the flag. None if it depends on other parameters.
      neutral: the value that switches the parameter off, or None if it has no such value.
      client_default: of the client, if `default` is None.
      at_least, at_most, above, below: bounds of the value. Without an upper bound it must be
        finite.
      least_used: lower bound of all values but the neutral one.
      not_above: name of the parameter that is an upper bound of this one, unless that is switched
        off.
      needs_source: whether the value is relative to a source, so that it must be neutral if the
        model has none.
      several: whether the value is several strings, which are joined with `SEPARATOR`.
      most, most_bytes: largest number and size of these strings.
      samples: whether the parameter changes sampling only, so that a beam cannot use it.
      cutoff: the operation `module:function` of a cut-off. It maps logits `[B, V]` and the value
        `[B]` to logits, and is resolved when the graph is built. Cut-offs are applied in the order
        of the table.
      penalty: the operation `module:function` of a penalty. It maps logits, the values of all
        parameters that name it, and the history to logits. Penalties are applied in the order of
        the table, before the cut-offs, also to rows that do not sample.
    """

    name: str
    dtype: str
    default: Any
    neutral: float | None = None
    client_default: Any = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    least_used: float | None = None
    not_above: str | None = None
    needs_source: bool = False
    several: bool = False
    most: int | None = None
    most_bytes: int | None = None
    samples: bool = False
    cutoff: str | None = None
    penalty: str | None = None

    @property
    def client_value(self) -> Any:
        """The value that the client sends if nobody gives one."""
        return self.client_default if self.default is None else self.default

    @property
    def is_checked(self) -> bool:
        """Whether the value of each row must be within bounds of its own."""
        bounds = (self.at_least, self.at_most, self.above, self.below)
        return any(bound is not None for bound in bounds)

    @property
    def expected(self) -> str:
        """The bounds in words, for messages."""
        if self.least_used is not None:
            return f"{self.neutral:g} or an integer >= {self.least_used:g}"
        if self.at_most is not None and self.at_least is not None and self.at_least < 0:
            return f"a value from {self.at_least:g} to {self.at_most:g}"
        lower = f"> {self.above:g}" if self.at_least is None else f">= {self.at_least:g}"
        if self.at_most is not None:
            return f"a value {lower} and <= {self.at_most:g}"
        if self.below is not None:
            return f"a value {lower} and < {self.below:g}"
        return f"an integer {lower}" if self.dtype == "int32" else f"a finite value {lower}"


def parameter(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    flag_at_most: float | None = None,
    **others: Any,
) -> Any:
    """Declares a parameter.

    Args:
      default: of the flag. None if it depends on other parameters.
      help: of the flag.
      choices: the allowed values of the flag.
      at_least, at_most, above, below: bounds of the flag and of each row of a request.
      flag_at_most: upper bound of the flag only.
      **others: of `Parameter`.
    """
    bounds = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
    flag_bounds: dict[str, Any] = dict(bounds)
    if flag_at_most is not None:
        flag_bounds["at_most"] = flag_at_most
    if others.get("dtype") == "int64":
        flag_bounds = {"at_least": -_INT64, "at_most": _INT64 - 1}
    is_text = isinstance(default, str | tuple) and choices is None
    declared = field(default, help, choices=choices, escapes=is_text, **flag_bounds)
    row = {**bounds, **others}
    return dataclasses.field(default=default, metadata={**declared.metadata, "row": row})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextParameters:
    """The inputs of a request for text."""

    temperature: float | None = parameter(
        None,
        "Divides the logits: 1 samples from the distribution of the model, 0 is greedy. None is 1, "
        "and 0 with a beam.",
        client_default=1.0,
        neutral=0.0,
        at_least=0.0,
        samples=True,
    )
    top_k: int = parameter(
        0,
        "Samples among the k most probable tokens; 0 keeps all.",
        neutral=0,
        at_least=0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_top_k",
    )
    top_p: float = parameter(
        1.0,
        "Samples among the most probable tokens that together have this mass; 1 keeps all.",
        neutral=1.0,
        above=0.0,
        at_most=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_top_p",
    )
    min_p: float = parameter(
        0.0,
        "Drops tokens that are less probable than this share of the most probable token.",
        neutral=0.0,
        at_least=0.0,
        at_most=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_min_p",
    )
    typical_p: float = parameter(
        1.0,
        "Samples among the tokens that are about as surprising as expected and together have this "
        "mass; 1 keeps all.",
        neutral=1.0,
        above=0.0,
        at_most=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_typical",
    )
    epsilon_cutoff: float = parameter(
        0.0,
        "Drops tokens that are less probable than this; 0 keeps all.",
        neutral=0.0,
        at_least=0.0,
        below=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_epsilon",
    )
    eta_cutoff: float = parameter(
        0.0,
        "Drops tokens that are less probable than this, and than its square root times "
        "exp(-entropy); 0 keeps all.",
        neutral=0.0,
        at_least=0.0,
        below=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_eta",
    )
    repetition_penalty: float = parameter(
        1.0,
        "Weakens tokens that occur in the prompt or the continuation; 1 does nothing. A source is "
        "no prompt: with pairs and dialogues, only tokens of the target count.",
        neutral=1.0,
        above=0.0,
        penalty=f"{_REPETITION}:penalize_repetition",
    )
    frequency_penalty: float = parameter(
        0.0,
        "Subtracted from the logit of a token for each time that it occurs in the continuation or "
        "target; the prompt or source does not count.",
        neutral=0.0,
        at_least=-2.0,
        at_most=2.0,
        penalty=f"{_REPETITION}:penalize_counts",
    )
    presence_penalty: float = parameter(
        0.0,
        "Subtracted once from the logit of a token that occurs in the continuation or target; the "
        "prompt or source does not count.",
        neutral=0.0,
        at_least=-2.0,
        at_most=2.0,
        penalty=f"{_REPETITION}:penalize_counts",
    )
    no_repeat_ngram: int = parameter(
        0,
        "No sequence of this many tokens occurs twice in the prompt and the continuation; 0 allows "
        "it. A source is no prompt: with pairs and dialogues, only the target counts.",
        neutral=0,
        at_least=0,
        flag_at_most=MAX_TOKENS,
        penalty=f"{_REPETITION}:forbid_ngrams",
    )
    banned: tuple[str, ...] = parameter(
        (),
        "A word that is not generated, with or without a space before it. It is recognized by its "
        "tokens: the same letters in other tokens are allowed.",
        most=MAX_BANNED,
        most_bytes=MAX_WORD_BYTES,
    )
    allowed: tuple[str, ...] = parameter(
        (),
        "Only the tokens of this text and the end token are generated; with several texts, the "
        "tokens of all of them.",
    )
    forced: tuple[str, ...] = parameter(
        (),
        "A word that the text contains when it ends. If the model would end without it, or only as "
        "many tokens are left as it needs, it is generated exactly as given, with its spaces.",
        most=MAX_FORCED,
        most_bytes=MAX_WORD_BYTES,
    )
    forced_prefix: str = parameter(
        "",
        "The text starts with this, after the space that joins words to the prompt. Its tokens "
        "count as new tokens and belong to the score.",
    )
    min_new_tokens: int = parameter(
        0,
        "The end token is not generated before this many tokens.",
        neutral=0,
        at_least=0,
        not_above="max_new_tokens",
    )
    max_new_tokens: int = parameter(
        128,
        "A continuation ends after this many tokens.",
        at_least=1,
        flag_at_most=MAX_TOKENS,
    )
    min_length_ratio: float = parameter(
        0.0,
        "The end token is not generated before this many tokens per token of the source.",
        neutral=0.0,
        at_least=0.0,
        not_above="max_length_ratio",
        needs_source=True,
    )
    max_length_ratio: float = parameter(
        0.0,
        "A continuation ends after this many tokens per token of the source, or at max_new_tokens; "
        "0 is no bound.",
        neutral=0.0,
        at_least=0.0,
        needs_source=True,
    )
    stop: tuple[str, ...] = parameter(
        (),
        "Ends the text before this string.",
        most=MAX_STOPS,
        most_bytes=MAX_STOP_BYTES,
    )
    loop_repeats: int = parameter(
        0,
        "Ends a text that ends with the same tokens this many times in a row, as degenerate texts "
        "do; 0 never does.",
        neutral=0,
        at_least=0,
        flag_at_most=MAX_TOKENS,
        least_used=2,
    )
    seed: int = parameter(
        0,
        "Without a beam: the same seed and prompt give the same text.",
        dtype="int64",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamParameters:
    """The inputs of a request for a beam, besides those of `TextParameters` that do not sample."""

    length_penalty: str = parameter(
        "gnmt",
        "With a beam: the divisor of the log-probability of a hypothesis of n tokens: 1 (none), "
        "((5 + n) / 6) ** alpha (gnmt), n ** alpha (average).",
        choices=LENGTH_PENALTIES,
    )
    length_penalty_alpha: float = parameter(
        0.6,
        "With a beam: larger values give longer texts; 0.6 is that of Vaswani et al. (2017, "
        "section 6.1).",
        at_least=0.0,
        at_most=MAX_ALPHA,
    )


def _rows(declared: type) -> tuple[Parameter, ...]:
    rows = []
    for entry in dataclasses.fields(declared):
        row = {"dtype": _DTYPES[str(entry.type)], **entry.metadata["row"]}
        several = isinstance(entry.default, tuple)
        rows.append(Parameter(name=entry.name, default=entry.default, several=several, **row))
    return tuple(rows)


PARAMETERS = _rows(TextParameters)
BEAM_PARAMETERS = _rows(BeamParameters)

# The values that switch parameters off; None if a parameter has no such value.
NEUTRAL = {parameter.name: parameter.neutral for parameter in PARAMETERS}
# The values that switch sampling off.
NO_SAMPLING = {parameter.name: parameter.neutral for parameter in PARAMETERS if parameter.samples}


def sample_seed(seed: int, sample: int) -> int:
    """Returns the seed, an int64, of one of the samples of a prompt.

    The first sample keeps the seed, so it is the text that a single sample would be. The others are
    far from the seeds that people choose, so that the second sample of seed 1 is not the first of
    seed 2.
    """
    return (seed + sample * _SEED_STRIDE + _INT64) % (2 * _INT64) - _INT64
