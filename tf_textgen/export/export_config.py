"""The configuration of an export. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import Config, field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """The folder of an export and the limits of its requests."""

    prefix: ClassVar[str] = "export"
    dir: str = field(
        "",
        "Folder of the served model, saved_models/NAME; its versions are numbered folders inside.",
        path=True,
    )
    version: int | None = field(
        None, "Version number; none takes the next free one.", at_least=1, at_most=10**18 - 1
    )
    keep: int = field(
        0,
        "Number of older versions to keep, besides this one and the newest; 0 keeps all of them.",
        at_least=0,
    )
    jit_compile: bool = field(
        False,
        "Compile the steps of decoding by XLA; TF Serving then needs a flag, which is printed.",
    )
    max_new_tokens: int = field(
        256,
        "Upper bound of the new tokens a request may ask for; it bounds a request's time and "
        "memory.",
        at_least=1,
    )
    max_prompt_tokens: int = field(
        1024, "Longer prompts are cut at the end that training cut.", at_least=2
    )
