"""Writes a `TextGenerator` as a SavedModel version that TF Serving takes as it is."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.atomic_files import sync_directory, sync_folder
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export.checking import CHECK_PROMPTS, check_export
from tf_textgen.export.loaded_saved_model import CONFIG_FILE
from tf_textgen.export.model_card import model_card
from tf_textgen.export.prediction_log import REQUESTS_FILE, write_requests
from tf_textgen.export.server_files import write_server_files
from tf_textgen.export.versions import locked, version_numbers, writing
from tf_textgen.export.warm_up_requests import warm_up_requests
from tf_textgen.generator import TextGenerator

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
    """Writes `directory/VERSION`, after a fresh process has given the generator's own answers from
    it.

    Args:
      generator: what is served.
      directory: the served model's folder.
      decoding: the parameters of `serving_default`; None samples `generator.default_new_tokens`.
      version: version number; None takes the next free one.
      config: what the model is, written to assets.extra/config.json with the decoding parameters,
        `truncation_side` and `jit_compile`, and to the model card.
      record: of its training (`run.json`), for the model card.
      prompts: texts on which the export must equal the generator.

    Returns:
      The version's folder. It is written next to and renamed, so a server never sees half of it.

    Raises:
      UserError: if the version exists, the generator cannot do what `decoding` asks for, or the
        export answers otherwise than it.
    """
    decoding = decoding or DecodingConfig(max_new_tokens=generator.default_new_tokens)
    generator.check(decoding)
    root = pathlib.Path(directory)
    root = root if root.name not in ("", "..") else root.resolve()  # its name is the model's
    with locked(root):
        version = version or max(version_numbers(root), default=0) + 1
        target = root / str(version)
        beside = root / f".{version}.writing"
        if target.exists():
            raise UserError(
                f"--export.version={version}: {target} exists already; choose another version or "
                "leave it out"
            )
        shutil.rmtree(beside, ignore_errors=True)  # of an export that was killed
        try:
            signatures = generator.signatures(decoding)
            functions = {
                name: tf.function(one.function, autograph=False).get_concrete_function(**one.inputs)
                for name, one in signatures.items()
            }
            resolved = {
                **(config or {}),
                "truncation_side": generator.truncation_side,
                "jit_compile": generator.jit_compile,
                "decoding": decoding.to_json(),
            }
            card = model_card(root.name, generator, signatures, functions, resolved, record or {})
            with writing(root):
                tf.saved_model.save(_Served(generator), str(beside), signatures=functions)
                (beside / CONFIG_FILE).parent.mkdir()
                (beside / CONFIG_FILE).write_text(
                    json.dumps(resolved, indent=2, ensure_ascii=False) + "\n", "utf-8"
                )
                (beside / CARD_FILE).write_text(card, "utf-8")
                write_requests(
                    beside / REQUESTS_FILE, root.name, warm_up_requests(signatures, decoding)
                )
            check_export(signatures, beside, decoding, prompts)
            with writing(root):
                write_server_files(root)
                sync_folder(beside)
                os.rename(beside, target)
                sync_directory(root)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return target


class _Served(tf.Module):
    """What the graphs of a generator read, and no more.

    The model itself would bring its optimizer and a signature of Keras, the generator's functions a
    second copy of every graph.
    """

    def __init__(self, generator: TextGenerator) -> None:
        super().__init__(name="text_generator")
        self.weights = [variable.value for variable in generator.model.weights]
        self.tokenizers = [generator.tokenizer, generator.source_tokenizer]
