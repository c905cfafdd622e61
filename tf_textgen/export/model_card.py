"""The model card of an export: its data, training, figures, limits and signatures.

Reference: Mitchell et al. (2019), Model cards for model reporting.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_textgen.generator import TextGenerator
from tf_textgen.generator.signature import Signature

# Number of files that the card names.
_MOST_FILES = 3
_FIGURES = ("validation.", "train.", "baseline.")
_TRAINING = (
    "parameters",
    "precision",
    "steps",
    "best_step",
    "tokens",
    "wall_time_s",
    "device",
    "version",
    "commit",
)


def model_card(
    name: str,
    generator: TextGenerator,
    signatures: Mapping[str, Signature],
    functions: Mapping[str, Any],
    config: Mapping[str, Any],
    record: Mapping[str, Any],
) -> str:
    """The card in Markdown; sections of which nothing is known are left out.

    Args:
      name: under which the model is served.
      generator: the served model.
      signatures: of the export.
      functions: the concrete functions of `signatures`.
      config: description of the model, as `export` writes it next to the card.
      record: of its training (`run.json`).
    """
    data = {key: _file_names(value) for key, value in _set(config.get("data", {})).items()}
    training = {key: record[key] for key in _TRAINING if key in record}
    figures = {key: value for key, value in record.items() if key.startswith(_FIGURES)}
    sections = {
        f"# {name}": [_summary(generator, config)],
        "## Data": _table(data),
        "## Model": _table(_set(config.get("model_config", {}))),
        "## Training": _table(training),
        "## Figures": _table(figures),
        "## Decoding": _decoding(config),
        "## Limits": _limits(generator),
        "## Signatures": _signatures(signatures, functions),
    }
    known = [f"{title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines]
    return "\n\n".join(known) + "\n"


def _summary(generator: TextGenerator, config: Mapping[str, Any]) -> str:
    task = "maps a source text to a target text" if generator.is_pair else "continues a text"
    if "model" not in config:
        return f"It {task}."
    return f"A model of the family {config['model']} that {task}."


def _decoding(config: Mapping[str, Any]) -> list[str]:
    return [
        "The parameters of `serving_default`; the other signatures take their own with each "
        "request.",
        "",
        *_table(_set(config["decoding"])),
    ]


def _limits(generator: TextGenerator) -> list[str]:
    return [
        f"- A request may ask for at most {generator.max_new_tokens} new tokens.",
        f"- A prompt or source of more than {generator.max_prompt_tokens} tokens loses its "
        f"{generator.truncation_side}; `prompt_truncated` says so.",
        "- It repeats what its training texts hold, wrong or offensive as that may be. Nothing "
        "here filters its texts.",
    ]


def _signatures(signatures: Mapping[str, Signature], functions: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted(signatures):
        lines.append(f"- `{name}`")
        lines.append(f"  - in: {_specs(signatures[name].inputs)}")
        lines.append(f"  - out: {_specs(functions[name].structured_outputs)}")
    return lines


def _specs(specs: Mapping[str, tf.TensorSpec]) -> str:
    shown = []
    for name, spec in specs.items():
        sizes = ["?" if size is None else str(size) for size in spec.shape]
        shown.append(f"{name} {spec.dtype.name} [{', '.join(sizes)}]")
    return ", ".join(shown)


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are set."""
    return {key: value for key, value in values.items() if value not in (None, "", [], ())}


def _file_names(value: Any) -> Any:
    """The names of files, without their folders on the machine of the training."""
    if not isinstance(value, (list, tuple)):
        return value
    names = [pathlib.PurePath(path).name for path in value]
    if len(names) > _MOST_FILES:
        names = [*names[:_MOST_FILES], f"... ({len(names)} files)"]
    return ", ".join(names)


def _table(values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {key} | {_cell(value)} |" for key, value in values.items()]
    return ["| | |", "| --- | --- |", *rows] if rows else []


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "\\n")
