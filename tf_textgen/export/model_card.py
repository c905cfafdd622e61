"""The model card: what a version is and may be asked, for whoever finds it on a server.

Reference: Mitchell et al. (2019), Model cards for model reporting.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_textgen.generator import TextGenerator
from tf_textgen.generator.signature import Signature

_MOST_FILES = 3  # that are named
_PARTS = ("validation.", "train.", "baseline.")
_FACTS = (
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
    """The card in Markdown.

    Args:
      name: under which the model is served.
      generator: what is served.
      signatures: what it offers.
      functions: the concrete functions of `signatures`.
      config: what export writes next to the card; what is not known of a model that no run trained
        is left out.
      record: of its training (`run.json`).
    """
    task = "maps a source text to a target text" if generator.is_pair else "continues a text"
    sections = {
        f"# {name}": [
            f"A model of the family {config['model']} that {task}."
            if "model" in config
            else f"It {task}."
        ],
        "## Data": _table(
            {key: _named(value) for key, value in _chosen(config.get("data", {})).items()}
        ),
        "## Model": _table(_chosen(config.get("model_config", {}))),
        "## Training": _table({key: record[key] for key in _FACTS if key in record}),
        "## Figures": _table(
            {key: value for key, value in record.items() if key.startswith(_PARTS)}
        ),
        "## Decoding": [
            "The parameters of `serving_default`; the other signatures take their own with each "
            "request.",
            "",
            *_table(_chosen(config["decoding"])),
        ],
        "## Limits": [
            f"- A request may ask for at most {generator.max_new_tokens} new tokens.",
            f"- A prompt or source of more than {generator.max_prompt_tokens} tokens loses its "
            f"{generator.truncation_side}; `prompt_truncated` says so.",
            "- It repeats what its training texts hold, wrong or offensive as that may be. Nothing "
            "here filters its texts.",
        ],
        "## Signatures": [
            line
            for one in sorted(signatures)
            for line in _signature(one, signatures[one].inputs, functions[one].structured_outputs)
        ],
    }
    return (
        "\n\n".join(f"{title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines)
        + "\n"
    )


def _chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is set at all."""
    return {key: value for key, value in values.items() if value not in (None, "", [], ())}


def _named(value: Any) -> Any:
    """Returns the names of files, without their folders on the machine of the training."""
    if not isinstance(value, (list, tuple)):
        return value
    names = [pathlib.PurePath(one).name for one in value]
    return ", ".join(
        names if len(names) <= _MOST_FILES else [*names[:_MOST_FILES], f"... ({len(names)} files)"]
    )


def _table(values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {key} | {_cell(value)} |" for key, value in values.items()]
    return ["| | |", "| --- | --- |", *rows] if rows else []


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "\\n")


def _signature(
    name: str, inputs: Mapping[str, tf.TensorSpec], outputs: Mapping[str, tf.TensorSpec]
) -> list[str]:
    return [f"- `{name}`", f"  - in: {_specs(inputs)}", f"  - out: {_specs(outputs)}"]


def _specs(specs: Mapping[str, tf.TensorSpec]) -> str:
    return ", ".join(
        f"{name} {spec.dtype.name} "
        f"[{', '.join('?' if size is None else str(size) for size in spec.shape)}]"
        for name, spec in specs.items()
    )
