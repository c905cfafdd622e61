"""The differences between a recorded run and the flags that would continue it.

Does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tf_textgen.models import family
from tf_textgen.runs.recorded_config import FREE_PARTS, PARTS, RecordedConfig

_SHOWN = 57
_CONTEXT = 40


def differences(recorded: RecordedConfig, parts: Mapping[str, Any]) -> Iterator[str]:
    """Yields `part.field is A there, B here` for each field that may not change but does.

    A field that did not exist when the run was recorded has its default there.

    Args:
      recorded: the configuration of the run.
      parts: all or some parts of the `config.json` of this training.
    """
    there = recorded.to_json()
    if parts.get("model", recorded.model) != recorded.model:
        # The fields of two families have nothing in common.
        yield _difference("model", recorded.model, parts["model"])
        return
    for part, values in parts.items():
        before = there.get(part)
        if part in FREE_PARTS:
            continue
        if not isinstance(values, Mapping) or not isinstance(before, Mapping):
            if values != before:
                yield _difference(part, before, values)
            continue
        config_class = PARTS.get(part)
        prefix = part
        if part == "model_config":
            config_class = family(recorded.model).config_class
            prefix = config_class.prefix
        free = _free_fields(config_class)
        for name, value in values.items():
            if name not in free and value != before.get(name):
                yield _difference(f"{prefix}.{name}", before.get(name), value)


def _free_fields(config_class: Any) -> set[str]:
    """Returns the fields of a configuration that may change."""
    if config_class is None:
        return set()
    entries = dataclasses.fields(config_class)
    return {entry.name for entry in entries if entry.metadata["may_change"]}


def _difference(name: str, there: Any, here: Any) -> str:
    """Returns the difference of two values; of long ones, the text around the first difference."""
    before = json.dumps(there, ensure_ascii=False)
    after = json.dumps(here, ensure_ascii=False)
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = max(same - _CONTEXT, 0)
    return f"{name} is {_brief(before, start)} there, {_brief(after, start)} here"


def _brief(text: str, start: int) -> str:
    if len(text) <= _SHOWN + 3:
        return text
    end = start + _SHOWN
    brief = text[start:end]
    if start > 0:
        brief = f"...{brief}"
    if end < len(text):
        brief = f"{brief}..."
    return brief
