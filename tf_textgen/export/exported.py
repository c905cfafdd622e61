"""Text generation by an export: through its signatures, without the code that trained it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from tf_textgen.decoding.continuation import Continuation
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameter_table import sample_seed
from tf_textgen.decoding.parameters import values_of
from tf_textgen.errors import UserError
from tf_textgen.export.loaded_saved_model import (
    CONFIG_FILE,
    LoadedSavedModel,
    damage_as_user_error,
    read_config,
)
from tf_textgen.export.versions import version_numbers
from tf_textgen.generator import to_best_continuations, to_continuations
from tf_textgen.generator.beam_decoder import beam_inputs
from tf_textgen.generator.decoder import generate_inputs
from tf_textgen.generator.signature import Inputs

_ADVICE = "expected it as `export` wrote it; export again"


class Exported:
    """A SavedModel version loaded for `generate`.

    Args:
      path: `NAME/VERSION`, or `NAME` for its highest version.

    Attributes:
      path: the version's folder.
      config: description of the model, as given to `export_saved_model`.
      decoding: the parameters of `serving_default`.
      vocabulary_size: of the model, if `config` has it.
      saved_model: answers the requests.
      is_pair: whether the model maps a source to a target.

    Raises:
      UserError: if there is no export of this kind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = version_folder(path)
        with damage_as_user_error(_damaged(path, self.path), _ADVICE):
            self.config = read_config(self.path)
            self.decoding = DecodingConfig.from_json(self.config["decoding"])
            model_config = self.config.get("model_config", {})
            self.vocabulary_size: int | None = model_config.get("vocabulary_size")
            self.saved_model = LoadedSavedModel(self.path)
            self.is_pair = "source" in self.saved_model.inputs("generate")

    def generate(
        self, texts: Sequence[str], decoding: DecodingConfig | None = None
    ) -> list[Continuation]:
        """Like `TextGenerator.generate`, in one request to `generate` or `beam_search`.

        Args:
          texts: prompts, or sources.
          decoding: parameters for all of them; None uses those of `serving_default`.

        Raises:
          UserError: if a parameter is out of its bounds, or the export has no such beam.
        """
        decoding = decoding or self.decoding
        if decoding.beam_width > 1:
            return self._generate_best(texts, decoding)
        rows = [(text, sample) for text in texts for sample in range(decoding.num_samples)]
        prompts = [text for text, _ in rows]
        inputs = generate_inputs(self._input_name, prompts, decoding)
        inputs["seed"] = [sample_seed(decoding.seed, sample) for _, sample in rows]
        no_tokens: list[Any] = [()] * len(rows)
        answer = self._answer("generate", inputs, no_tokens)
        return to_continuations(rows, answer, decoding)

    def _generate_best(self, texts: Sequence[str], decoding: DecodingConfig) -> list[Continuation]:
        self._check_beam(decoding)
        inputs = beam_inputs(self._input_name, texts, decoding)
        no_tokens = [[()] * decoding.num_best] * len(texts)
        answer = self._answer("beam_search", inputs, no_tokens)
        return to_best_continuations(texts, answer, decoding)

    @property
    def _input_name(self) -> str:
        return "source" if self.is_pair else "prompt"

    def _answer(self, signature_name: str, inputs: Inputs, no_tokens: list[Any]) -> Inputs:
        """Asks a signature; an export by an earlier version lacks some inputs and outputs.

        Args:
          signature_name: `generate` or `beam_search`.
          inputs: of the signature.
          no_tokens: the outputs of tokens if the export lacks them.
        """
        answer = self.saved_model.answer(signature_name, self._known(signature_name, inputs))
        return {"token_log_probabilities": no_tokens, "token_texts": no_tokens, **answer}

    def _known(self, signature_name: str, inputs: Inputs) -> Inputs:
        """The inputs that the export has; the others must have their defaults, which do nothing."""
        known = self.saved_model.inputs(signature_name)
        defaults = values_of(DecodingConfig())
        for name, values in inputs.items():
            if name not in known and values and values[0] != defaults[name]:
                raise UserError(
                    f"--decoding.{name}={values[0]}: {self.path} was exported by an earlier "
                    f"version, which knows no {name}; leave it out, or export the run again"
                )
        return {name: values for name, values in inputs.items() if name in known}

    def _check_beam(self, decoding: DecodingConfig) -> None:
        """Raises `UserError` unless the graph, whose width is fixed, gives this beam.

        Fewer than its n best are the first of them.
        """
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


def decoding_of(path: str | os.PathLike[str]) -> DecodingConfig:
    """The decoding parameters of an export, which is not loaded.

    Args:
      path: as `Exported` takes it.

    Raises:
      UserError: if there is no export of this kind.
    """
    folder = version_folder(path)
    with damage_as_user_error(_damaged(path, folder), _ADVICE):
        return DecodingConfig.from_json(read_config(folder)["decoding"])


def _damaged(path: str | os.PathLike[str], folder: pathlib.Path) -> str:
    return f"--saved_model={path}: {folder} is damaged"


def version_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """The version's folder that `path` (`NAME` or `NAME/VERSION`) names."""
    folder = pathlib.Path(path)
    versions = version_numbers(folder)
    if versions:
        folder = folder / str(versions[-1])
    if not (folder / "saved_model.pb").is_file() or not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"--saved_model={path}: no export there; expected NAME or NAME/VERSION as `export` "
            "wrote it"
        )
    return folder
