"""The start of every training: tokenizers, data and the run folder, compared with what
it has recorded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tf_textgen.config import Config
from tf_textgen.data.dataset import open_corpus
from tf_textgen.data.split import TokenizedSplit
from tf_textgen.decoding.decoding_config import check_against_source, check_against_vocabulary
from tf_textgen.distribution.workers import Workers
from tf_textgen.errors import UserError
from tf_textgen.models import family
from tf_textgen.models.base import TextModel
from tf_textgen.optimizers.optimizers import make_optimizer
from tf_textgen.runs.baseline import read_baseline
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.recipe import Recipe
from tf_textgen.runs.recorded_config import FREE_PARTS, PARTS, RecordedConfig
from tf_textgen.runs.recorded_paths import absolute_paths
from tf_textgen.runs.run_folder import RunFolder, make_model
from tf_textgen.runs.tokenizers import run_tokenizers
from tf_textgen.runs.trained_generator import make_generator, prompt_format
from tf_textgen.runs.xla import use_xla
from tf_textgen.text.tokenizer import Tokenizer
from tf_textgen.training.pretrained_embeddings import load_word_vectors, vectors_digest
from tf_textgen.training.samples import make_sampler
from tf_textgen.training.validation import Sampler

_MOST_UNKNOWN = 0.01  # of the bytes of a split, without a note


class OpenedRun(NamedTuple):
    """A run about to be trained.

    Attributes:
      given: the recipe as the flags say it.
      recipe: the same with the files of its corpus.
      config: what config.json will hold, as far as it is known before training.
      source_tokenizer: that of the sources, if it is not the one of all texts.
      baseline: what `--run.baseline` reached.
      workers: that train together.
    """

    given: Recipe
    recipe: Recipe
    folder: RunFolder
    config: RecordedConfig
    tokenizer: Tokenizer
    source_tokenizer: Tokenizer | None
    splits: dict[str, TokenizedSplit]
    checkpoints: Checkpoints
    baseline: dict[str, Any] | None
    workers: Workers

    @property
    def kind(self) -> str:
        """Of the model: `language_model` or `encoder_decoder`."""
        return family(self.recipe.model).kind

    def say(self, *lines: str) -> None:
        """For people; of several workers the first one speaks."""
        if lines and self.workers.is_chief:
            print(*lines, sep="\n", flush=True)

    def describe(self, model: TextModel) -> str:
        of_sources = (
            f", {self.source_tokenizer.vocabulary_size:,} of sources"
            if self.source_tokenizer
            else ""
        )
        ids = f"{self.tokenizer.vocabulary_size:,} token ids{of_sources}"
        return f"{self.recipe.model}: {model.count_params():,} parameters, {ids}"

    def summaries(self) -> list[str]:
        """A line on each split, and on positions that no row of them has."""
        lines = []
        for split in self.splits.values():
            lines.append(split.summary())
            if split.unknown_byte_share > _MOST_UNKNOWN:
                lines.append(
                    f"note: the tokenizer does not know {split.unknown_byte_share:.1%} of the "
                    f"bytes of {split.name}; perplexity and nats/token look better than they are; "
                    "build a tokenizer from this text, or use --tokenizer.kind=sentencepiece"
                )
        context = self.recipe.data.context
        limit = self.recipe.model_config.context_limit
        is_trained = limit is not None and limit.is_trained and not self.recipe.data.is_pairs
        if limit is not None and is_trained and context < limit.tokens:
            lines.append(
                f"note: positions from {context} on are not trained, since rows have "
                f"--data.context={context} tokens; --{limit.flag}={context} would bound texts to "
                "that, rotary positions reach further"
            )
        return lines

    def compiled_model(self) -> TextModel:
        """The model with its optimizer; made in the scope of the strategy."""
        model = make_model(self.config)
        optimizer = self.recipe.optimizer
        run = self.recipe.run
        model.compile(
            make_optimizer(optimizer, model.trainable_variables),
            label_smoothing=optimizer.label_smoothing,
            clip_norm=optimizer.clip_norm or None,
            carried_rows=self.recipe.data.carried_rows,
            micro_batches=run.micro_batches,
            ema_decay=optimizer.ema_decay,
            jit_compile=use_xla(run, model, is_pairs=self.recipe.data.is_pairs),
        )
        return model

    def load_word_vectors(self, model: TextModel) -> Iterator[str]:
        """Sets embeddings of a model that begins; a line on each, none if no vectors were asked
        for.
        """
        embedding = self.recipe.embedding
        if embedding.file:
            sides = {"source": self.source_tokenizer or self.tokenizer, "target": self.tokenizer}
            found = load_word_vectors(
                model, embedding.file, embedding.side, sides, self.splits["train"]
            )
            yield from map(str, found)

    def sampler(self, model: TextModel) -> Sampler | None:
        """Writes sample texts; None for workers that would not show them."""
        if not self.workers.is_chief:
            return None
        run = self.recipe.run
        most = max(256, self.recipe.run.sample_tokens)
        generator = make_generator(
            self.config, model, self.tokenizer, self.source_tokenizer, max_new_tokens=most
        )
        return make_sampler(
            generator, run, self.recipe.decoding, self.splits.get("valid", self.splits["train"])
        )


def open_in_turn(recipe: Recipe, folder: RunFolder, workers: Workers) -> OpenedRun:
    """`open_run`, by the first worker first: what it makes (tokenizers, tokenized files) the others
    find and read.
    """
    if not workers.is_chief:
        workers.wait()
    opened = open_run(recipe, folder, workers)
    if workers.is_chief:
        workers.wait()
    _check_same_command(opened)
    return opened


def _check_same_command(opened: OpenedRun) -> None:
    """Raises `UserError` if a worker has other flags or files than the first one.

    They would drift apart, or wait for each other in different places forever.
    """
    shared = {}
    for part, values in opened.config.to_json().items():
        if part in PARTS and part not in FREE_PARTS:
            shared[part] = _shared_fields(PARTS[part], values)
        elif part not in FREE_PARTS:
            shared[part] = values
    digest = int(hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:12], 16)
    same = digest == int(opened.workers.from_chief(digest))
    if opened.workers.any(not same):
        whose = "another worker has" if same else "this worker has"
        raise UserError(
            f"{whose} other flags or files than the first one: expected the same command and the "
            f"same text on all {len(opened.workers.cluster.workers)} workers; compare them"
        )


def _shared_fields(config_class: type[Config], values: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that must be equal on all workers."""
    own = {entry.name for entry in dataclasses.fields(config_class) if entry.metadata["per_worker"]}
    return {name: value for name, value in values.items() if name not in own}


def open_run(given: Recipe, folder: RunFolder, workers: Workers) -> OpenedRun:
    """Tokenizers and data of a recipe, compared with what the folder has recorded.

    Raises:
      UserError: where data are missing or damaged, or the folder holds another run.
    """
    recipe = given.with_files()
    vectors = vectors_digest(recipe.embedding)
    folder.check_same_run(recipe.known_parts())
    tokenizer, source_tokenizer = run_tokenizers(recipe, folder)
    check_against_vocabulary(recipe.decoding, tokenizer.vocabulary_size)
    form = prompt_format(recipe.model, recipe.data)
    check_against_source(recipe.decoding, form in ("pair", "source"))
    splits = open_corpus(recipe.data, tokenizer, source_tokenizer=source_tokenizer)
    source_size = source_tokenizer.vocabulary_size if source_tokenizer else None
    model_config = recipe.model_for(tokenizer.vocabulary_size, tokenizer.pad_id, source_size)
    source_fingerprint = source_tokenizer.fingerprint if source_tokenizer else None
    config = RecordedConfig.of_recipe(
        recipe,
        model_config,
        tokenizer_fingerprint=tokenizer.fingerprint,
        source_tokenizer_fingerprint=source_fingerprint,
        files={name: split.shards.manifest["files"] for name, split in splits.items()},
        vectors=vectors,
        paths=absolute_paths(recipe),
    )
    folder.check_same_run(config.to_json())
    baseline = read_baseline(recipe.run.baseline, config) if recipe.run.baseline else None
    folder.write_recipe(given.flag_lines())
    checkpoints = Checkpoints(folder.checkpoints, recipe.run.keep_checkpoints, writes=folder.writes)
    parts = (tokenizer, source_tokenizer, splits, checkpoints, baseline, workers)
    return OpenedRun(given, recipe, folder, config, *parts)
