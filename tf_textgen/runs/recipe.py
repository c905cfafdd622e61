"""All configurations of a training, read from flags. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from tf_textgen import config
from tf_textgen.data.corpora import with_corpus
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.models import MODELS, family, model_kind
from tf_textgen.models.model_config import EncoderDecoderConfig, ModelConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.runs.embedding_config import EmbeddingConfig
from tf_textgen.runs.kept_files import data_files
from tf_textgen.runs.recorded_config import PARTS
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.text.tokenizer_config import TokenizerConfig

_ANY_VOCABULARY = 2**30  # the model's other fields are checked before there is a tokenizer


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The configurations of a training.

    Attributes:
      model: name of the family.
      model_config: its configuration; the fields of the vocabulary mean nothing before `model_for`.
      tokenizer_dir: folder of a tokenizer to use; None makes one as `tokenizer` says.
      source_tokenizer_dir: the same for the source side of pairs, if the vocabulary is not
        shared.
      data_dir: folder of public corpora.
    """

    model: str
    model_config: ModelConfig
    tokenizer: TokenizerConfig
    data: DataConfig
    optimizer: OptimizerConfig
    run: RunConfig
    decoding: DecodingConfig
    embedding: EmbeddingConfig
    tokenizer_dir: str | None = None
    source_tokenizer_dir: str | None = None
    data_dir: str | None = None

    @classmethod
    def from_flags(cls, flag_values: flags.FlagValues) -> Recipe:
        """Reads and checks what `define_flags` defined; raises `UserError`."""
        model: Any = flag_values["model"].value
        model_config = config.from_flags(
            family(model).config_class, flag_values, vocabulary_size=_ANY_VOCABULARY
        )
        parts: dict[str, Any] = {
            name: config.from_flags(part, flag_values) for name, part in PARTS.items()
        }
        parts["tokenizer_dir"] = flag_values["tokenizer.dir"].value
        parts["source_tokenizer_dir"] = flag_values["source_tokenizer.dir"].value
        parts["data_dir"] = flag_values["data_dir"].value
        recipe = cls(model=model, model_config=model_config, **parts)
        if recipe.data.corpus is None:  # otherwise its form is known only with its files
            recipe.check_fits()
        return recipe

    def check_complete(self) -> None:
        """Raises `UserError` if a training would lack something."""
        self.run.check_complete(needs_budget=self.model_config.trained_by == "gradients")
        if self.run.xla == "on" and not self.model_config.supports_xla:
            raise UserError(
                f"--run.xla=on with --model={self.model}: expected auto or off, since XLA does not "
                "compile this model; leave it out"
            )
        check_embedding(self.model, self.embedding)

    def check_fits(self) -> None:
        """Raises `UserError` if the data cannot be read by the model: too long rows, or another
        vocabulary.
        """
        check_sides(self.tokenizer, self.data, self.source_tokenizer_dir)
        if not self.tokenizer.shared:
            self._check_separate_vocabularies()
        if self.data.carry_state and not self.model_config.carries_state:
            able = ", ".join(
                f"--model={name}"
                for name, entry in MODELS.items()
                if entry.config_class.carries_state
            )
            raise UserError(
                f"--data.carry_state with --model={self.model}, which has no state that one batch "
                f"could hand to the next: expected {able}; choose it or leave --data.carry_state "
                "out"
            )
        self._check_context()

    def _check_context(self) -> None:
        limit = self.model_config.context_limit
        if limit is None:
            return
        source = self.data.max_source_tokens
        target = self.data.max_target_tokens
        pair_flags = "--data.max_source_tokens and --data.max_target_tokens"
        if not self.data.is_pairs:
            needed = self.data.context
            flag = f"--data.context={needed}"
        elif self.model_config.kind == "encoder_decoder":
            # `source </s>` and `<s> target` are two rows.
            needed = max(source, target) + 1
            flag = f"{pair_flags}, {needed} for the longer with its special token"
        else:
            # The row is `<s> source <sep> target`.
            needed = source + target + 2
            flag = f"{pair_flags}, {needed} with the special tokens"
        if needed > limit.tokens:
            raise UserError(
                f"--{limit.flag}={limit.tokens}: expected at least {flag}; give "
                f"--{limit.flag}={needed}, or shorten the rows"
            )

    def _check_separate_vocabularies(self) -> None:
        if not isinstance(self.model_config, EncoderDecoderConfig):
            raise UserError(
                f"--tokenizer.shared=false with --model={self.model}: expected a shared "
                "vocabulary, since a language model reads source and target in one row; leave it "
                "out or choose an encoder-decoder"
            )
        if self.model_config.shared_embeddings:
            name = config.flag_name(type(self.model_config), "shared_embeddings")
            raise UserError(
                f"--{name} with --tokenizer.shared=false: expected one vocabulary for both sides; "
                f"set --{name}=false or leave --tokenizer.shared out"
            )

    def with_files(self) -> Recipe:
        """This recipe with the files of its corpus, if it names one; they are found, made or
        downloaded.
        """
        recipe = dataclasses.replace(self, data=with_corpus(self.data, self.data_dir))
        recipe.check_fits()
        return recipe

    def model_for(
        self, vocabulary_size: int, pad_id: int, source_vocabulary_size: int | None = None
    ) -> ModelConfig:
        """The model's configuration for a tokenizer, and that of its sources if they have their
        own.
        """
        sizes: dict[str, int] = {"vocabulary_size": vocabulary_size, "pad_id": pad_id}
        if source_vocabulary_size is not None:
            sizes["source_vocabulary_size"] = source_vocabulary_size
        return dataclasses.replace(self.model_config, **sizes)  # type: ignore[arg-type]

    def tokenizer_dirs(self) -> list[str]:
        """Returns the folders of the given tokenizers."""
        return [folder for folder in (self.tokenizer_dir, self.source_tokenizer_dir) if folder]

    def read_files(self) -> Iterator[tuple[str, Path]]:
        """Yields the flag and the path of each local file that is read, except tokenizers."""
        yield from data_files(self.data)
        if self.embedding.file:
            yield f"--embedding.file={self.embedding.file}", Path(self.embedding.file)

    def flag_lines(self) -> list[str]:
        """The flagfile that gives this recipe again."""
        folders = {
            "tokenizer.dir": self.tokenizer_dir,
            "source_tokenizer.dir": self.source_tokenizer_dir,
            "data_dir": self.data_dir,
        }
        lines = [f"--model={self.model}"]
        lines += [config.flag_line(name, value) for name, value in folders.items() if value]
        for part in (self.model_config, *(getattr(self, name) for name in PARTS)):
            lines += config.to_flags(part)
        return lines

    def known_parts(self) -> dict[str, Any]:
        """Returns the parts of `config.json` as far as they are known from flags."""
        chosen = {
            entry.name
            for entry in dataclasses.fields(self.model_config)
            if entry.metadata.get("flag", True)
        }
        model_config = {
            name: value for name, value in self.model_config.to_json().items() if name in chosen
        }
        parts = {name: getattr(self, name).to_json() for name in PARTS}
        if self.embedding.file is None:
            del parts["embedding"]  # it says nothing then
        return {"model": self.model, "model_config": model_config, **parts}


def check_embedding(model: str, embedding: EmbeddingConfig) -> None:
    """Raises `UserError` where word vectors are given to a model that has no such table."""
    if embedding.file is None:
        return
    if not family(model).config_class.has_embeddings:
        raise UserError(
            f"--embedding.file={embedding.file} with --model={model}: expected a model with an "
            "embedding table; leave it out"
        )
    if embedding.side != "all" and model_kind(model) != "encoder_decoder":
        raise UserError(
            f"--embedding.side={embedding.side} with --model={model}: expected all, since a "
            "language model has one table and no sides; leave it out"
        )


def check_sides(config: TokenizerConfig, data: DataConfig, source_dir: str | None) -> None:
    """Raises `UserError` if a tokenizer of the sources is wanted that would not be used."""
    if config.shared and source_dir:
        raise UserError(
            f"--source_tokenizer.dir={source_dir} with a shared vocabulary: expected "
            "--tokenizer.shared=false; add it, or leave the folder out"
        )
    if not config.shared and not data.is_pairs:
        raise UserError(
            "--tokenizer.shared=false with --data.format=text: expected pairs, which have "
            "two sides; leave it out"
        )


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags of all model families and of everything else in a recipe."""
    flags.DEFINE_string(
        "model", "transformer_lm", f"One of {', '.join(MODELS)}.", flag_values=flag_values
    )
    text = "Folder that holds the public corpora, or receives them."
    config.define_path_flag("data_dir", None, text, flag_values)
    text = (
        "Tokenizer to use, as build_vocab wrote it; without it one is made from the training files."
    )
    config.define_path_flag("tokenizer.dir", None, text, flag_values)
    text = "The same for the source side of pairs, with --tokenizer.shared=false."
    config.define_path_flag("source_tokenizer.dir", None, text, flag_values)
    for config_class in (*(entry.config_class for entry in MODELS.values()), *PARTS.values()):
        config.define_flags(config_class, flag_values)
