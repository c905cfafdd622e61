"""Writes a `TextGenerator` as a SavedModel version for TF Serving."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.atomic_files import sync_directory, sync_folder
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export.checking import CHECK_PROMPTS, check_export
from tf_textgen.export.loaded_saved_model import CONFIG_FILE
from tf_textgen.export.model_card import model_card
from tf_textgen.export.prediction_log import REQUESTS_FILE, write_requests
from tf_textgen.export.server_files import model_name, write_server_files
from tf_textgen.export.versions import failure_as_user_error, locked, version_numbers
from tf_textgen.export.warm_up_requests import warm_up_requests
from tf_textgen.generator import TextGenerator
from tf_textgen.generator.signature import Signature

CARD_FILE = os.path.join("assets.extra", "model_card.md")


def export_saved_model(
    generator: TextGenerator,
    directory: str | os.PathLike[str],
    *,
    decoding: DecodingConfig | None = None,
    version: int | None = None,
    config: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    prompts: Sequence[str] = CHECK_PROMPTS,
) -> pathlib.Path:
    """Writes `directory/VERSION`, if a fresh process gives the generator's answers from it.

    Args:
      generator: the served model.
      directory: the served model's folder.
      decoding: the parameters of `serving_default`; None samples `generator.default_new_tokens`.
      version: version number; None takes the next free one.
      config: description of the model, written to assets.extra/config.json with the decoding
        parameters, `truncation_side` and `jit_compile`, and to the model card.
      record: of its training (`run.json`), for the model card.
      prompts: texts on which the export must equal the generator.

    Returns:
      The version's folder. It is written under another name and renamed, so that a server never
      sees half of it.

    Raises:
      UserError: if the version exists, the generator cannot do what `decoding` asks for, or the
        answers of the export differ.
    """
    decoding = decoding or DecodingConfig(max_new_tokens=generator.default_new_tokens)
    generator.check(decoding)
    root = pathlib.Path(directory)
    # The folder's name is the model's.
    if root.name in ("", ".."):
        root = root.resolve()
    description = {
        **(config or {}),
        "truncation_side": generator.truncation_side,
        "jit_compile": generator.jit_compile,
        "decoding": decoding.to_json(),
    }
    with locked(root):
        target = _free_version(root, version)
        with _staging(root / f".{target.name}.writing") as staging:
            signatures = generator.signatures(decoding)
            functions = _traced(signatures)
            card = model_card(
                root.name, generator, signatures, functions, description, record or {}
            )
            with failure_as_user_error(root):
                tf.saved_model.save(_Served(generator), str(staging), signatures=functions)
                _write_extras(staging, description, card)
                requests = warm_up_requests(signatures, decoding, jit_compile=generator.jit_compile)
                write_requests(staging / REQUESTS_FILE, model_name(root), requests)
            check_export(signatures, staging, decoding, prompts)
            with failure_as_user_error(root):
                write_server_files(root)
                _publish(staging, target)
    return target


def _free_version(root: pathlib.Path, version: int | None) -> pathlib.Path:
    """The folder of a version that does not exist yet; None is the next number."""
    if version is None:
        version = max(version_numbers(root), default=0) + 1
    folder = root / str(version)
    if folder.exists():
        raise UserError(
            f"--export.version={version}: {folder} exists already; choose another version or leave "
            "it out"
        )
    return folder


@contextlib.contextmanager
def _staging(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that is gone after the block, unless it was renamed."""
    # Left by an export that was killed.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _traced(signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """The concrete function of each signature."""
    functions = {}
    for name, signature in signatures.items():
        function = tf.function(signature.function, autograph=False)
        functions[name] = function.get_concrete_function(**signature.inputs)
    return functions


def _write_extras(folder: pathlib.Path, description: Mapping[str, Any], card: str) -> None:
    """Writes the files of a version that only people and this package read."""
    (folder / CONFIG_FILE).parent.mkdir()
    text = json.dumps(description, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", "utf-8")
    (folder / CARD_FILE).write_text(card, "utf-8")


def _publish(staging: pathlib.Path, target: pathlib.Path) -> None:
    """Makes a version visible to servers, all of it on the disk."""
    sync_folder(staging)
    os.rename(staging, target)
    sync_directory(target.parent)


class _Served(tf.Module):
    """The variables and tables that a generator's graphs read.

    The model itself would add its optimizer and a signature of Keras; the generator's functions
    would add a second copy of every graph.
    """

    def __init__(self, generator: TextGenerator) -> None:
        super().__init__(name="text_generator")
        self.weights = [variable.value for variable in generator.model.weights]
        self.tokenizers = [generator.tokenizer, generator.source_tokenizer]
