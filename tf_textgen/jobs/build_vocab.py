"""Builds the tokenizer of a recipe, so that several trainings can share it."""

from __future__ import annotations

from absl import flags

from tf_textgen import config
from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer_config import TokenizerConfig
from tf_textgen.training import recipe

HELP = "Build a vocabulary from the training files of a recipe."


def define_flags(flag_values: flags.FlagValues) -> None:
    recipe.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> None:
    tokenizer_config = config.from_flags(TokenizerConfig, flag_values)
    data_config = config.from_flags(DataConfig, flag_values)
    folder = flag_values["tokenizer.dir"].value
    if not folder:
        raise UserError("--tokenizer.dir is missing: expected the folder to write the tokenizer to")
    import_tensorflow_quietly()
    from tf_textgen.data.corpora import with_corpus
    from tf_textgen.data.sources import training_texts
    from tf_textgen.text import build_tokenizer

    data_config = with_corpus(data_config, flag_values["data_dir"].value)
    tokenizer = build_tokenizer(tokenizer_config, training_texts(data_config))
    tokenizer.save(folder)
    print(f"{folder}: {tokenizer.kind} tokenizer with {tokenizer.vocabulary_size:,} ids")
