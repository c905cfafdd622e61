"""The result of a metric, and checks of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tf_textgen.errors import UserError

References = Sequence[Sequence[str]]


class Scores(NamedTuple):
    """The values of a metric.

    Attributes:
      values: name -> value.
      signature: library and version, tokens, treatment of several references. Values are comparable
        only if their signatures are equal.
    """

    values: dict[str, float]
    signature: str


def check_any(texts: Sequence[str]) -> None:
    """Raises `UserError` unless there is a text."""
    if not texts:
        raise UserError("no generated text: expected at least one to judge")


def check_aligned(hypotheses: Sequence[str], references: References) -> None:
    """Raises `UserError` unless each text has at least one reference, and there is a text."""
    if len(hypotheses) != len(references):
        raise UserError(
            f"{len(hypotheses)} generated texts and references of {len(references)}: expected as "
            "many of each"
        )
    check_any(hypotheses)
    for index, several in enumerate(references):
        if isinstance(several, str) or not several:
            given = "one text" if several else "none"
            raise UserError(
                f"the references of text {index + 1} are {given}: expected a sequence of at least "
                "one"
            )


def nref(references: References) -> str:
    """Returns the number of references per text: `nrefs:1`, or `nrefs:1-7` if it varies.

    sacreBLEU's `nrefs:var` does not contain the numbers.
    """
    numbers = [len(several) for several in references]
    fewest = min(numbers)
    most = max(numbers)
    return f"nrefs:{fewest}" if fewest == most else f"nrefs:{fewest}-{most}"
