"""One generated text for each of many prompts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameter_table import sample_seed
from tf_textgen.generator import Continuation, TextGenerator
from tf_textgen.progress_line import ProgressLine

_PROGRESS_SECONDS = 10.0


def generate_all(
    generator: TextGenerator,
    prompts: Sequence[str],
    decoding: DecodingConfig,
    *,
    batch_size: int,
    output: TextIO | None = None,
) -> list[Continuation]:
    """Returns one text for each prompt, in the order of the prompts.

    Prompts of similar length are decoded together, the longest first, so that a lack of memory
    shows at once. A text does not depend on its batch. A source gets the same text as from
    `generate`. Prompts of text have a seed each; otherwise diversity would be measured on texts
    drawn with the same random numbers.

    Args:
      generator: generates the texts.
      prompts: the prompts or sources.
      decoding: the decoding parameters.
      batch_size: number of prompts decoded together.
      output: stream for the progress; None is standard error.
    """
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place].encode()))
    found: dict[int, Continuation] = {}
    progress = _Progress(len(prompts), output)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = [prompts[place] for place in places]
        seeds = None
        if not generator.is_pair:
            seeds = [sample_seed(decoding.seed, place) for place in places]
        continuations = generator.generate(batch, decoding, batch_size=batch_size, seeds=seeds)
        found.update(zip(places, continuations, strict=True))
        progress.show(len(found))
    return [found[place] for place in range(len(prompts))]


class _Progress:
    """The number of texts, redrawn on a terminal, otherwise as a line every ten seconds."""

    def __init__(self, total: int, output: TextIO | None) -> None:
        self._total = total
        self._line = ProgressLine(output, period_s=_PROGRESS_SECONDS)
        self._start = time.monotonic()

    def show(self, done: int) -> None:
        is_last = done == self._total
        speed = done / max(time.monotonic() - self._start, 1e-9)
        text = f"generated {done:,} of {self._total:,} texts, {speed:.1f} a second"
        self._line.draw(text)
        if is_last:
            self._line.keep_drawn()
        if not self._line.is_terminal and self._line.is_due(is_last=is_last):
            self._line.write(text)
