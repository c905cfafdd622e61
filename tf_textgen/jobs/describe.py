"""Prints the cost of a recipe or a run before it is trained. Imports TensorFlow only to read
`--tokenizer.dir`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from absl import flags

from tf_textgen import config
from tf_textgen.errors import UserError
from tf_textgen.models import MODELS, family, model_kind
from tf_textgen.runs import recipe
from tf_textgen.runs.description import Description, describe, format_table
from tf_textgen.runs.recorded_config import PARTS, read_config
from tf_textgen.text.tokenizer_config import TokenizerConfig

HELP = "Describe a recipe or a run: parameters, FLOPs a token, memory for training and serving."
# The bytes and the special tokens.
_BYTES_TOKENS = 261
_DESCRIBED_PARTS = ("data", "optimizer", "run", "embedding")


def define_flags(flag_values: flags.FlagValues) -> None:
    recipe.define_flags(flag_values)
    text = (
        "Number of token ids; if not set, that of the run or of --tokenizer.dir, otherwise the "
        "maximum of --tokenizer.*."
    )
    flags.DEFINE_integer("vocabulary_size", None, text, lower_bound=1, flag_values=flag_values)
    text = (
        "Number of tokens that the model attends to: of the text, or of source and target each; if "
        "not set, that of the data."
    )
    flags.DEFINE_integer("context", None, text, lower_bound=1, flag_values=flag_values)
    flags.DEFINE_boolean("json", False, "Print one JSON object.", flag_values=flag_values)


def run(flag_values: flags.FlagValues) -> None:
    directory = str(flag_values["run.dir"].value or "")
    is_run = directory and os.path.exists(os.path.join(directory, "config.json"))
    if is_run or (directory and not _gives_recipe(flag_values)):
        description = _describe_run(directory, flag_values)
    else:
        description = _describe_recipe(flag_values)
    if flag_values["json"].value:
        print(json.dumps(dataclasses.asdict(description)))
    else:
        print(format_table(description))


def _describe_run(directory: str, flag_values: flags.FlagValues) -> Description:
    """Describes a run with the changes of the command line.

    Raises:
      UserError: if there is no run in the folder.
    """
    recorded = read_config(directory)
    name = recorded.model
    model: Any = config.override(recorded.model_config, flag_values)
    if flag_values["vocabulary_size"].value:
        model = dataclasses.replace(model, vocabulary_size=flag_values["vocabulary_size"].value)
    parts: dict[str, Any] = {}
    for part in _DESCRIBED_PARTS:
        parts[part] = config.override(getattr(recorded, part), flag_values)
    recipe.check_embedding(name, parts["embedding"])
    return describe(name, model, **parts, context=flag_values["context"].value)


def _describe_recipe(flag_values: flags.FlagValues) -> Description:
    name = str(flag_values["model"].value)
    if family(name).trained_by == "counting":
        raise UserError(
            f"--model={name}: its size follows from counting; expected --run.dir of a run that "
            "train has counted; train first"
        )
    size, is_limit = _vocabulary_size(flag_values, "tokenizer.dir")
    sizes = {"vocabulary_size": size}
    if not flag_values["tokenizer.shared"].value and model_kind(name) == "encoder_decoder":
        source_size, _ = _vocabulary_size(flag_values, "source_tokenizer.dir")
        sizes["source_vocabulary_size"] = source_size
    model = config.from_flags(family(name).config_class, flag_values, **sizes)
    parts: dict[str, Any] = {}
    for part in _DESCRIBED_PARTS:
        parts[part] = config.from_flags(PARTS[part], flag_values)
    recipe.check_embedding(name, parts["embedding"])
    description = describe(name, model, **parts, context=flag_values["context"].value)
    return dataclasses.replace(description, vocabulary_at_most=is_limit)


def _gives_recipe(flag_values: flags.FlagValues) -> bool:
    """Whether the command line or a flagfile says anything about the model or its data."""
    prefixes = ["data.", "tokenizer."]
    prefixes += [f"{entry.config_class.prefix}." for entry in MODELS.values()]
    for name in flag_values:
        if flag_values[name].present and (name == "model" or name.startswith(tuple(prefixes))):
            return True
    return False


def _vocabulary_size(flag_values: flags.FlagValues, folder_flag: str) -> tuple[int, bool]:
    """The number of token ids, and whether it is only a limit."""
    if flag_values["vocabulary_size"].value:
        return flag_values["vocabulary_size"].value, False
    folder = flag_values[folder_flag].value
    if folder:
        from tf_textgen.text import load_tokenizer

        return load_tokenizer(folder).vocabulary_size, False
    tokenizer = config.from_flags(TokenizerConfig, flag_values)
    if tokenizer.kind == "bytes":
        return _BYTES_TOKENS, False
    return tokenizer.vocabulary_size, tokenizer.kind in ("words", "characters")
