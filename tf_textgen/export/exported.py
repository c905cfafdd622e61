"""Asks an export as a server would: through its signatures, without the code that trained it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.compat import quiet_stderr
from tf_textgen.decoding.decoding_config import DecodingConfig, sample_seed
from tf_textgen.decoding.parameters import values_of
from tf_textgen.errors import UserError
from tf_textgen.export import self_check
from tf_textgen.export.versions import version_numbers
from tf_textgen.generator import Continuation, to_best_continuations, to_continuations
from tf_textgen.generator.beam_decoder import beam_inputs
from tf_textgen.generator.decoder import generate_inputs

CONFIG_FILE = os.path.join("assets.extra", "config.json")


class Exported:
    """A SavedModel version loaded for `generate`.

    Args:
      path: `NAME/VERSION`, or `NAME` for its highest version.

    Attributes:
      config: what the model is, as given to `export_saved_model`.
      decoding: its parameters of `serving_default`.

    Raises:
      UserError: if there is no export of this kind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = version_folder(path)
        with _told_as_damage(path, self.path):
            self.config = _read_config(self.path)
            self.decoding = DecodingConfig.from_json(self.config["decoding"])
            self.vocabulary_size: int | None = self.config.get("model_config", {}).get(
                "vocabulary_size"
            )
            with quiet_stderr():
                self._loaded = tf.saved_model.load(str(self.path))
            inputs = self_check.input_names(self._loaded, "generate")
        self.is_pair = "source" in inputs

    def generate(
        self, texts: Sequence[str], decoding: DecodingConfig | None = None
    ) -> list[Continuation]:
        """Like `TextGenerator.generate`, answered by the signature `generate` or `beam_search` in
        one request.

        Raises:
          UserError: if a parameter is out of its bounds, or the export has no such beam.
        """
        decoding = decoding or self.decoding
        text_name = "source" if self.is_pair else "prompt"
        if decoding.beam_width > 1:
            self._check_beam(decoding)
            inputs = self._known("beam_search", beam_inputs(text_name, texts, decoding))
            answer = self_check.ask(self._loaded, "beam_search", inputs)
            return to_best_continuations(
                texts, _told(answer, [[()] * decoding.num_best] * len(texts)), decoding
            )
        rows = [(text, sample) for text in texts for sample in range(decoding.num_samples)]
        inputs = generate_inputs(text_name, [text for text, _ in rows], decoding)
        inputs["seed"] = [sample_seed(decoding.seed, sample) for _, sample in rows]
        answer = self_check.ask(self._loaded, "generate", self._known("generate", inputs))
        return to_continuations(rows, _told(answer, [()] * len(rows)), decoding)

    def _known(self, signature_name: str, inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """What the export has inputs for: one by an earlier version lacks some, which do nothing at
        their defaults.
        """
        known = self_check.input_names(self._loaded, signature_name)
        defaults = values_of(DecodingConfig())
        for name, values in inputs.items():
            if name not in known and values and values[0] != defaults[name]:
                raise UserError(
                    f"--decoding.{name}={values[0]}: {self.path} was exported by an earlier "
                    f"version, which knows no {name}; leave it out, or export the run again"
                )
        return {name: values for name, values in inputs.items() if name in known}

    def _check_beam(self, decoding: DecodingConfig) -> None:
        """The graph's width is fixed; the first of its n-best are the same whatever n is."""
        width = self.decoding.beam_width
        number = self.decoding.num_best
        if decoding.beam_width != width:
            has = f"a beam of {width}" if width > 1 else "no beam"
            raise UserError(
                f"--decoding.beam_width={decoding.beam_width}: {self.path} was exported with "
                f"{has}; expected {width}, or an export with "
                f"--decoding.beam_width={decoding.beam_width}"
            )
        if decoding.num_best > number:
            raise UserError(
                f"--decoding.num_best={decoding.num_best}: {self.path} was exported with {number}; "
                f"expected at most {number}, or an export with "
                f"--decoding.num_best={decoding.num_best}"
            )


def _told(answer: dict[str, list[Any]], nothing: list[Any]) -> dict[str, list[Any]]:
    """The answer with `nothing` for the tokens, of an export by an earlier version, which does not
    tell them.
    """
    return {"token_log_probabilities": nothing, "token_texts": nothing, **answer}


def decoding_of(path: str | os.PathLike[str]) -> DecodingConfig:
    """The decoding parameters of an export, which is not loaded.

    Args:
      path: as `Exported` takes it.

    Raises:
      UserError: if there is no export of this kind.
    """
    folder = version_folder(path)
    with _told_as_damage(path, folder):
        return DecodingConfig.from_json(_read_config(folder)["decoding"])


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / CONFIG_FILE).read_text("utf-8"))


@contextlib.contextmanager
def _told_as_damage(path: str | os.PathLike[str], folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        tf.errors.OpError,
    ) as error:
        raise UserError(
            f"--saved_model={path}: {folder} is damaged ({str(error)[:200]}); expected it as "
            "`export` wrote it; export again"
        ) from error


def version_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """The version's folder that `path` (`NAME` or `NAME/VERSION`) names."""
    folder = pathlib.Path(path)
    versions = version_numbers(folder)
    folder = folder / str(versions[-1]) if versions else folder
    if not (folder / "saved_model.pb").is_file() or not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"--saved_model={path}: no export there; expected NAME or NAME/VERSION as `export` "
            "wrote it"
        )
    return folder
