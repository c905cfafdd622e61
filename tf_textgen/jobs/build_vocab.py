"""Trains a tokenizer on the training files of a recipe."""

from __future__ import annotations

from absl import flags

from tf_textgen import config
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer_config import TokenizerConfig

HELP = "Build a vocabulary from text files."


def define_flags(flag_values: flags.FlagValues) -> None:
    config.define_flags(TokenizerConfig, flag_values)
    config.define_flags(DataConfig, flag_values)
    flags.DEFINE_string("output", None, "Folder to write the tokenizer to.", flag_values=flag_values)
    flags.DEFINE_string(
        "data_dir", None, "Folder that holds the public corpora, or receives them.", flag_values=flag_values
    )


def run(flag_values: flags.FlagValues) -> None:
    tokenizer_config = config.from_flags(TokenizerConfig, flag_values)
    data_config = config.from_flags(DataConfig, flag_values)
    output = flag_values["output"].value
    if not output:
        raise UserError("--output is missing: expected the folder to write the tokenizer to")
    from tf_textgen.data.corpora import with_corpus
    from tf_textgen.data.sources import training_texts
    from tf_textgen.text.vocabulary import build_tokenizer

    data_config = with_corpus(data_config, flag_values["data_dir"].value)
    tokenizer = build_tokenizer(tokenizer_config, training_texts(data_config))
    tokenizer.save(output)
    print(f"{output}: {tokenizer.kind} tokenizer with {tokenizer.vocabulary_size:,} ids")
