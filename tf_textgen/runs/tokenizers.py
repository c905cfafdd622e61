"""The tokenizers of a recipe: one for all its texts, or one for the sources of its pairs and one
for their targets.

Importing this does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Literal

from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.dialogues import SPEAKERS
from tf_textgen.data.sources import training_texts
from tf_textgen.errors import UserError
from tf_textgen.text import build_tokenizer, load_tokenizer
from tf_textgen.text.tokenizer_config import KINDS_WITH_SYMBOLS, TokenizerConfig

if TYPE_CHECKING:
    from tf_textgen.runs.recipe import Recipe
    from tf_textgen.runs.run_folder import RunFolder
    from tf_textgen.text.tokenizer import Tokenizer

Side = Literal["source", "target"]


def make_tokenizer(config: TokenizerConfig, data: DataConfig, side: Side | None) -> Tokenizer:
    """Builds a tokenizer from the training files.

    Args:
      config: the configuration of the tokenizer. The speakers of dialogues are added to the
        symbols if the kind has symbols; the targets, which are replies, never contain them.
      data: the configuration of the files.
      side: the side of the pairs; None is both.
    """
    if data.format == "dialogue" and side != "target" and config.kind in KINDS_WITH_SYMBOLS:
        symbols = dict.fromkeys((*SPEAKERS, *config.symbols))
        config = dataclasses.replace(config, symbols=tuple(symbols))
    return build_tokenizer(config, training_texts(data, side))


def run_tokenizers(recipe: Recipe, folder: RunFolder) -> tuple[Tokenizer, Tokenizer | None]:
    """Returns the run's tokenizer, and that of its sources if they have their own; saves both.

    Each tokenizer is loaded from its `dir` flag or from the run folder, or built from the training
    files. A worker that does not write loads those that the first worker has saved.

    Raises:
      UserError: if a resumed run has another tokenizer, or the tokenizer cannot represent the
        speakers of dialogues.
    """
    if recipe.tokenizer.shared:
        return _run_tokenizer(recipe, folder, None), None
    return _run_tokenizer(recipe, folder, "target"), _run_tokenizer(recipe, folder, "source")


def _run_tokenizer(recipe: Recipe, folder: RunFolder, side: Side | None) -> Tokenizer:
    name = "source_tokenizer" if side == "source" else "tokenizer"
    given = recipe.source_tokenizer_dir if side == "source" else recipe.tokenizer_dir
    own = folder.path / name
    if not folder.writes:
        return load_tokenizer(own)
    if given:
        tokenizer = load_tokenizer(given)
    elif folder.recorded() is not None:
        return load_tokenizer(own)
    else:
        tokenizer = make_tokenizer(recipe.tokenizer, recipe.data, side)
    if recipe.data.format == "dialogue" and side != "target":
        _check_speakers(tokenizer, f"{name}.dir", given)
    folder.check_same_run({f"{name}_fingerprint": tokenizer.fingerprint})
    tokenizer.save(own)
    return tokenizer


def _check_speakers(tokenizer: Tokenizer, flag: str, given: str | None) -> None:
    """Prints a note if a speaker of dialogues takes several tokens.

    Raises:
      UserError: if the tokenizer does not know a speaker.
    """
    tokens = tokenizer.tokenize(list(SPEAKERS))
    names = " and ".join(SPEAKERS)
    origin = f"--{flag}={given}" if given else "the training files"
    if [text.decode() for text in tokenizer.detokenize(tokens).numpy()] != list(SPEAKERS):
        way = "enlarge the vocabulary"
        if given:
            way = f"leave --{flag} out, or build it with --data.format=dialogue"
        raise UserError(
            f"the {tokenizer.kind} tokenizer of {origin} has no {names}: expected one that "
            f"separates the speakers of a dialogue apart; {way}"
        )
    if tokenizer.kind in KINDS_WITH_SYMBOLS and max(tokens.row_lengths().numpy()) > 1:
        print(
            f"note: the tokenizer of {origin} spells out {names}; build_vocab with "
            "--data.format=dialogue makes one that has a token for each",
            file=sys.stderr,
        )
