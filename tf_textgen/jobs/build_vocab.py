"""Builds the tokenizer of a recipe, so that several trainings can share it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.data.corpora import with_corpus
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.runs import recipe
from tf_textgen.runs.kept_files import check_not_read, check_outside_runs
from tf_textgen.runs.tokenizers import Side, make_tokenizer
from tf_textgen.text.tokenizer_config import (
    DESCRIPTION_FILE,
    TOKENIZER_FILES,
    TokenizerConfig,
)

HELP = "Build a vocabulary from the training files of a recipe."


def define_flags(flag_values: flags.FlagValues) -> None:
    recipe.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> None:
    tokenizer_config = config.from_flags(TokenizerConfig, flag_values)
    data_config = config.from_flags(DataConfig, flag_values)
    sides: dict[str, Side | None] = {"tokenizer.dir": None}
    if not tokenizer_config.shared:
        sides = {"tokenizer.dir": "target", "source_tokenizer.dir": "source"}
    for name in sides:
        if not flag_values[name].value:
            raise UserError(f"--{name} is missing: expected the folder to write the tokenizer to")
    _check_kept([str(flag_values[name].value) for name in sides], list(sides), data_config)
    data_config = with_corpus(data_config, flag_values["data_dir"].value)
    recipe.check_sides(tokenizer_config, data_config, flag_values["source_tokenizer.dir"].value)
    import_tensorflow_quietly()
    for name, side in sides.items():
        folder = str(flag_values[name].value)
        tokenizer = make_tokenizer(tokenizer_config, data_config, side)
        tokenizer.save(folder)
        print(f"{folder}: {tokenizer.kind} tokenizer with {tokenizer.vocabulary_size:,} ids")


def _check_kept(folders: Sequence[str], flags_of_folders: Sequence[str], data: DataConfig) -> None:
    """Raises `UserError` if a tokenizer would replace anything but a tokenizer."""
    real_folders = {Path(folder).resolve() for folder in folders}
    if len(real_folders) < len(folders):
        raise UserError(
            f"--{' and --'.join(flags_of_folders)} are the same folder: expected one for each "
            "tokenizer; choose another"
        )
    for flag, folder in zip(flags_of_folders, folders, strict=True):
        check_outside_runs(f"--{flag}", folder)
        for name in TOKENIZER_FILES:
            check_not_read(f"--{flag}", Path(folder) / name, [data])
        _check_replaceable(flag, Path(folder))


def _check_replaceable(flag: str, folder: Path) -> None:
    found = [name for name in TOKENIZER_FILES if (folder / name).exists()]
    if not found:
        return
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_bytes())
        is_tokenizer = "fingerprint" in description
    except (OSError, ValueError, TypeError):
        is_tokenizer = False
    if not is_tokenizer:
        raise UserError(
            f"--{flag}={folder} has {found[0]} that build_vocab did not write: expected a new "
            "folder or one that build_vocab wrote; choose another"
        )
