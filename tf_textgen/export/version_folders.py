"""The names of a served model's versions: numbered folders, as TensorFlow Serving has them."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # a server's 64 bits


def version_number(name: str) -> int | None:
    """The version that a folder of this name is, or None: "007" would be another name of 7."""
    return int(name) if _NUMBER.fullmatch(name) else None
