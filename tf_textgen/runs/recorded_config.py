"""The configuration of a run as `config.json` records it, typed. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_textgen import atomic_files
from tf_textgen.config import Config
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.models import family
from tf_textgen.models.model_config import ModelConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.runs.embedding_config import EmbeddingConfig
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.text.tokenizer_config import TokenizerConfig

if TYPE_CHECKING:
    from tf_textgen.runs.recipe import Recipe

FORMAT_VERSION = 1
"""Of `config.json`; files of the first version of the package have none and are read as 1."""
KINDS = ("trained", "counted", "average")
"""trained: by an optimizer, with all parts. counted: in one pass, so `optimizer` means nothing.
average: of the checkpoints of another run, which `averaged_run` and `averaged_steps` name.
"""
_FILE = "config.json"
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, UserError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedConfig:
    """The configuration of a run.

    A part that may change as a whole when a run is resumed says so in the metadata of its field;
    the fields of the other parts do.

    Attributes:
      model: name of the family.
      model_config: its configuration.
      tokenizer, data, optimizer, run, decoding, embedding: the other configurations.
      tokenizer_fingerprint: of the tokenizer; None if it is not recorded.
      source_tokenizer_fingerprint: of that of the sources; None if it is `tokenizer`.
      files: split -> one list of files for each side, each with `name`, `size` and `sha256`.
      vectors: name, size and checksum of the word vectors; None if there are none.
      paths: relative path, as it was given -> the absolute path that it meant.
      averaged_run: folder of the run whose checkpoints were averaged; None if it is not an average.
      averaged_steps: the steps of these checkpoints.
    """

    model: str
    model_config: ModelConfig
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    decoding: DecodingConfig = dataclasses.field(
        default_factory=DecodingConfig, metadata={"may_change": True}
    )
    embedding: EmbeddingConfig = dataclasses.field(default_factory=EmbeddingConfig)
    tokenizer_fingerprint: str | None = None
    source_tokenizer_fingerprint: str | None = None
    files: Mapping[str, list[list[Mapping[str, Any]]]] = dataclasses.field(default_factory=dict)
    vectors: Mapping[str, Any] | None = None
    paths: Mapping[str, str] = dataclasses.field(
        default_factory=dict, metadata={"may_change": True}
    )
    averaged_run: str | None = None
    averaged_steps: tuple[int, ...] = ()

    @classmethod
    def of_recipe(cls, recipe: Recipe, model_config: ModelConfig, **found: Any) -> RecordedConfig:
        """Returns the configuration of a recipe.

        Args:
          recipe: with the files of its corpus.
          model_config: that of the recipe, with the sizes of the vocabularies.
          **found: the fields that the tokenizers and the files determine.
        """
        parts = {name: getattr(recipe, name) for name in PARTS}
        return cls(model=recipe.model, model_config=model_config, **parts, **found)

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        if self.averaged_run is not None:
            return "average"
        return "counted" if family(self.model).trained_by == "counting" else "trained"

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `config.json`; parts that mean nothing are left out."""
        content: dict[str, Any] = {"format_version": FORMAT_VERSION, "kind": self.kind}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Config):
                value = value.to_json()
            elif isinstance(value, tuple):
                value = list(value)
            content[entry.name] = value
        if self.embedding.file is None:
            del content["embedding"]
        if self.source_tokenizer_fingerprint is None:
            del content["source_tokenizer_fingerprint"]
        if self.averaged_run is None:
            del content["averaged_run"], content["averaged_steps"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RecordedConfig:
        """Reads the content of a `config.json`, of this version or an earlier one.

        Raises:
          UserError, ValueError, KeyError: if a part is missing, unknown or not of its type.
        """
        _check_version(content)
        for name in ("model_config", "data", "run"):
            if not isinstance(content[name], Mapping):
                raise ValueError(f"{name} is no object")
        missing = {"seed", "precision"} - set(content["run"])
        if missing:
            raise ValueError(f"run has no {min(missing)}")
        model = content["model"]
        values: dict[str, Any] = {}
        values["model_config"] = family(model).config_class.from_json(content["model_config"])
        for name, config_class in PARTS.items():
            if name in content:
                values[name] = config_class.from_json(content[name])
        for entry in dataclasses.fields(cls):
            if entry.name not in values and entry.name in content:
                values[entry.name] = content[entry.name]
        values["averaged_steps"] = tuple(content.get("averaged_steps", ()))
        return cls(**values)


PARTS: dict[str, type[Config]] = {
    "tokenizer": TokenizerConfig,
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "run": RunConfig,
    "decoding": DecodingConfig,
    "embedding": EmbeddingConfig,
}
"""Name -> class of the parts that are configurations, besides that of the model."""
FREE_PARTS = tuple(
    entry.name
    for entry in dataclasses.fields(RecordedConfig)
    if entry.metadata.get("may_change", False)
)
"""The parts that may change when a run is resumed."""


def read_config(directory: str | Path) -> RecordedConfig:
    """Reads `config.json` of a run folder.

    Raises:
      UserError: if there is no such file, or it cannot be read.
    """
    path = Path(directory) / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RecordedConfig.from_json(content)
    except OSError as error:
        raise UserError(
            f"{directory} is no run folder ({_FILE}: {error.strerror}): expected the --run.dir "
            "of a training"
        ) from error
    except NewerFormat:
        raise
    except _DAMAGE as error:
        raise UserError(
            f"{path} is damaged ({error}): expected JSON as train wrote it; put the file back or "
            "train again"
        ) from error


def write_config(directory: str | Path, config: RecordedConfig) -> None:
    """Writes `config.json` of a run folder."""
    atomic_files.write_json(Path(directory) / _FILE, config.to_json())


class NewerFormat(UserError):
    """A `config.json` that a later version of the package wrote."""


def _check_version(content: Mapping[str, Any]) -> None:
    version = content.get("format_version", FORMAT_VERSION)
    kind = content.get("kind")
    if version > FORMAT_VERSION or kind not in (None, *KINDS):
        raise NewerFormat(
            f"config.json has format_version={version} and kind={kind}: expected version "
            f"{FORMAT_VERSION} and one of {', '.join(KINDS)}; install the version of tf_textgen "
            "that wrote the run"
        )
