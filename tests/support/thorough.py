"""What a test repeats for each of many cases: some always, the others by `--thorough`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def cases(names: Iterable[str], *, always: Iterable[str]) -> list[Any]:
    """Parameters of a test: all of `names`, those that are not in `always` marked as thorough."""
    every, kept = list(names), set(always)
    assert kept and kept <= set(every), "what is always tested has to be there"
    return [
        name if name in kept else pytest.param(name, marks=pytest.mark.thorough) for name in every
    ]
