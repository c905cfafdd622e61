"""Builds the tokenizer of a recipe, so that several trainings can share it."""

from __future__ import annotations

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.data.corpora import with_corpus
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.runs import recipe
from tf_textgen.runs.tokenizers import Side, make_tokenizer
from tf_textgen.text.tokenizer_config import TokenizerConfig

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
    data_config = with_corpus(data_config, flag_values["data_dir"].value)
    recipe.check_sides(tokenizer_config, data_config, flag_values["source_tokenizer.dir"].value)
    import_tensorflow_quietly()
    for name, side in sides.items():
        folder = str(flag_values[name].value)
        tokenizer = make_tokenizer(tokenizer_config, data_config, side)
        tokenizer.save(folder)
        print(f"{folder}: {tokenizer.kind} tokenizer with {tokenizer.vocabulary_size:,} ids")
