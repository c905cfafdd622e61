"""Asks an export as a server would: through its signatures, without the code that trained it."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.compat import quiet_stderr
from tf_textgen.decoding.decoding_config import DecodingConfig, sample_seed
from tf_textgen.decoding.parameters import Parameters, values_of
from tf_textgen.errors import UserError
from tf_textgen.export import self_check
from tf_textgen.generator import Continuation, to_continuations

CONFIG_FILE = os.path.join("assets.extra", "config.json")


class Exported:
    """A SavedModel version loaded for `generate`.

    Args:
      path: `NAME/VERSION`, or `NAME` for its highest version.

    Attributes:
      config: what the model is, as given to `export_saved_model`.
      decoding: its parameters of `serving_default`.

    Raises:
      UserError: where there is no export of this kind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = version_folder(path)
        try:
            self.config = json.loads((self.path / CONFIG_FILE).read_text("utf-8"))
            self.decoding = DecodingConfig.from_json(self.config["decoding"])
            self.vocabulary_size: int | None = self.config.get("model_config", {}).get("vocabulary_size")
            with quiet_stderr():
                self._loaded = tf.saved_model.load(str(self.path))
            inputs = self_check.input_names(self._loaded, "generate")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
            raise UserError(
                f"--saved_model={path}: {self.path} is damaged ({str(error)[:200]}); expected it as `export` wrote it; "
                "export again"
            ) from error
        self.is_pair = "source" in inputs
        missing = sorted({*Parameters._fields} - {*inputs})
        if missing:
            raise UserError(
                f"--saved_model={path}: {self.path} was written by an earlier version and knows no {missing[0]}; "
                "export the run again"
            )

    def generate(self, texts: Sequence[str], decoding: DecodingConfig | None = None) -> list[Continuation]:
        """Like `TextGenerator.generate`, answered by the signature `generate` in one request."""
        decoding = decoding or self.decoding
        rows = [(text, sample) for text in texts for sample in range(decoding.num_samples)]
        inputs = generate_inputs("source" if self.is_pair else "prompt", [text for text, _ in rows], decoding)
        inputs["seed"] = [sample_seed(decoding.seed, sample) for _, sample in rows]
        answer = self_check.ask(self._loaded, "generate", inputs)
        return to_continuations(rows, answer, decoding)


def generate_inputs(text_name: str, texts: Sequence[str], decoding: DecodingConfig) -> dict[str, list[Any]]:
    """Inputs of the signature `generate`: `decoding` for each of `texts`."""
    rows = {name: [value] * len(texts) for name, value in values_of(decoding).items()}
    return {text_name: list(texts), **rows}


def version_numbers(root: pathlib.Path) -> list[int]:
    """The versions in a served model's folder, ascending."""
    return sorted(int(entry.name) for entry in root.glob("*") if entry.name.isdigit()) if root.is_dir() else []


def version_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """The version's folder that `path` (`NAME` or `NAME/VERSION`) names."""
    folder = pathlib.Path(path)
    versions = version_numbers(folder)
    folder = folder / str(versions[-1]) if versions else folder
    if not (folder / "saved_model.pb").is_file() or not (folder / CONFIG_FILE).is_file():
        raise UserError(f"--saved_model={path}: no export there; expected NAME or NAME/VERSION as `export` wrote it")
    return folder
