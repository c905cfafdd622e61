"""The table of decoding parameters.

A row defines everything that depends on a parameter: its flag, its input in a signature, the check
of a request, its default in the client, and the operation that uses it. A new cut-off needs an
operation in `cutoffs` and a row here.

Uses only the standard library: flags are parsed before TensorFlow is imported, and clients do not
have it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameter:
    """A row of the table.

    Attributes:
      name: of the flag, of the input and in the client.
      dtype: float32, int32, int64 or string.
      default: of the flag. None if it depends on other parameters.
      help: of the flag.
      neutral: the value that switches the parameter off, or None if it has no such value.
      client_default: of the client, if `default` is None.
      at_least, at_most, above, below: bounds of the value. Without an upper bound it must be
        finite.
      flag_at_most: upper bound of the flag only.
      several: whether the value is several strings, which are joined with `SEPARATOR`.
      most, most_bytes: largest number and size of these strings.
      samples: whether the parameter changes sampling only, so that a beam cannot use it.
      cutoff: the operation `module:function` of a cut-off. It maps logits `[B, V]` and the value
        `[B]` to logits, and is resolved when the graph is built. Cut-offs are applied in the order
        of the table.
    """

    name: str
    dtype: str
    default: Any
    help: str
    neutral: float | None = None
    client_default: Any = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    flag_at_most: float | None = None
    several: bool = False
    most: int | None = None
    most_bytes: int | None = None
    samples: bool = False
    cutoff: str | None = None

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
        if self.at_most is not None and self.at_least is not None and self.at_least < 0:
            return f"a value from {self.at_least:g} to {self.at_most:g}"
        lower = f"> {self.above:g}" if self.at_least is None else f">= {self.at_least:g}"
        if self.at_most is not None:
            return f"a value {lower} and <= {self.at_most:g}"
        if self.below is not None:
            return f"a value {lower} and < {self.below:g}"
        return f"an integer {lower}" if self.dtype == "int32" else f"a finite value {lower}"


_CUTOFFS = "tf_textgen.decoding.cutoffs"

# The inputs of a request for text.
PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="temperature",
        dtype="float32",
        default=None,
        client_default=1.0,
        neutral=0.0,
        at_least=0.0,
        samples=True,
        help=(
            "Divides the logits: 1 samples from the distribution of the model, 0 is greedy. None "
            "is 1, and 0 with a beam."
        ),
    ),
    Parameter(
        name="top_k",
        dtype="int32",
        default=0,
        neutral=0,
        at_least=0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_top_k",
        help="Samples among the k most probable tokens; 0 keeps all.",
    ),
    Parameter(
        name="top_p",
        dtype="float32",
        default=1.0,
        neutral=1.0,
        above=0.0,
        at_most=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_top_p",
        help="Samples among the most probable tokens that together have this mass; 1 keeps all.",
    ),
    Parameter(
        name="min_p",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=0.0,
        at_most=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_min_p",
        help="Drops tokens that are less probable than this share of the most probable token.",
    ),
    Parameter(
        name="typical_p",
        dtype="float32",
        default=1.0,
        neutral=1.0,
        above=0.0,
        at_most=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_typical",
        help=(
            "Samples among the tokens that are about as surprising as expected and together have "
            "this mass; 1 keeps all."
        ),
    ),
    Parameter(
        name="epsilon_cutoff",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=0.0,
        below=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_epsilon",
        help="Drops tokens that are less probable than this; 0 keeps all.",
    ),
    Parameter(
        name="eta_cutoff",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=0.0,
        below=1.0,
        samples=True,
        cutoff=f"{_CUTOFFS}:keep_eta",
        help=(
            "Drops tokens that are less probable than this, and than its square root times "
            "exp(-entropy); 0 keeps all."
        ),
    ),
    Parameter(
        name="repetition_penalty",
        dtype="float32",
        default=1.0,
        neutral=1.0,
        above=0.0,
        help="Weakens tokens that occur in the prompt or the continuation; 1 does nothing.",
    ),
    Parameter(
        name="frequency_penalty",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=-2.0,
        at_most=2.0,
        help="Subtracted from the logit of a token for each time that it occurs in the "
        "continuation.",
    ),
    Parameter(
        name="presence_penalty",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=-2.0,
        at_most=2.0,
        help="Subtracted once from the logit of a token that occurs in the continuation.",
    ),
    Parameter(
        name="no_repeat_ngram",
        dtype="int32",
        default=0,
        neutral=0,
        at_least=0,
        flag_at_most=MAX_TOKENS,
        help=(
            "No sequence of this many tokens occurs twice in the prompt and the continuation (only "
            "in the target, if there is a source); 0 allows it."
        ),
    ),
    Parameter(
        name="banned",
        dtype="string",
        default=(),
        several=True,
        most=MAX_BANNED,
        most_bytes=MAX_WORD_BYTES,
        help=(
            "A word that is not generated, with or without a space before it. It is recognized by "
            "its tokens: the same letters in other tokens are allowed."
        ),
    ),
    Parameter(
        name="allowed",
        dtype="string",
        default=(),
        several=True,
        help=(
            "Only the tokens of this text and the end token are generated; with several texts, the "
            "tokens of all of them."
        ),
    ),
    Parameter(
        name="forced",
        dtype="string",
        default=(),
        several=True,
        most=MAX_FORCED,
        most_bytes=MAX_WORD_BYTES,
        help=(
            "A word that the text contains when it ends. If the model would end without it, or "
            "only as many tokens are left as it needs, it is generated exactly as given, with its "
            "spaces."
        ),
    ),
    Parameter(
        name="forced_prefix",
        dtype="string",
        default="",
        help="The text starts with this; its tokens count as new tokens and belong to the score.",
    ),
    Parameter(
        name="min_new_tokens",
        dtype="int32",
        default=0,
        neutral=0,
        at_least=0,
        help="The end token is not generated before this many tokens.",
    ),
    Parameter(
        name="max_new_tokens",
        dtype="int32",
        default=128,
        at_least=1,
        flag_at_most=MAX_TOKENS,
        help="A continuation ends after this many tokens.",
    ),
    Parameter(
        name="min_length_ratio",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=0.0,
        help="The end token is not generated before this many tokens per token of the source.",
    ),
    Parameter(
        name="max_length_ratio",
        dtype="float32",
        default=0.0,
        neutral=0.0,
        at_least=0.0,
        help=(
            "A continuation ends after this many tokens per token of the source, or at "
            "max_new_tokens; 0 is no bound."
        ),
    ),
    Parameter(
        name="stop",
        dtype="string",
        default=(),
        several=True,
        most=MAX_STOPS,
        most_bytes=MAX_STOP_BYTES,
        help="Ends the text before this string.",
    ),
    Parameter(
        name="loop_repeats",
        dtype="int32",
        default=0,
        neutral=0,
        at_least=0,
        flag_at_most=MAX_TOKENS,
        help=(
            "Ends a text that ends with the same tokens this many times in a row, as degenerate "
            "texts do; 0 never does."
        ),
    ),
    Parameter(
        name="seed",
        dtype="int64",
        default=0,
        help="Without a beam: the same seed and prompt give the same text.",
    ),
)

# The inputs of a request for a beam, besides those above that do not sample.
BEAM_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="length_penalty",
        dtype="string",
        default="gnmt",
        help=(
            "With a beam: the divisor of the log-probability of a hypothesis of n tokens: 1 "
            "(none), ((5 + n) / 6) ** alpha (gnmt), n ** alpha (average)."
        ),
    ),
    Parameter(
        name="length_penalty_alpha",
        dtype="float32",
        default=0.6,
        at_least=0.0,
        at_most=MAX_ALPHA,
        help=(
            "With a beam: larger values give longer texts; 0.6 is that of Vaswani et al. (2017, "
            "section 6.1)."
        ),
    ),
)

# The values that switch sampling off.
NO_SAMPLING = {parameter.name: parameter.neutral for parameter in PARAMETERS if parameter.samples}


def sample_seed(seed: int, sample: int) -> int:
    """Returns the seed, an int64, of one of the samples of a prompt.

    The first sample keeps the seed, so it is the text that a single sample would be. The others are
    far from the seeds that people choose, so that the second sample of seed 1 is not the first of
    seed 2.
    """
    return (seed + sample * _SEED_STRIDE + _INT64) % (2 * _INT64) - _INT64
