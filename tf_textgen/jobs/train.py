"""Trains a model, or goes on with a training.

Exit codes: 0 done; 2 bad input, a loss that is no number, a full disk; 130 (SIGINT) or 143 (SIGTERM) saved and stopped.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.decoding.decoding_config import check_against_source, check_against_vocabulary
from tf_textgen.jobs import loading
from tf_textgen.models import family
from tf_textgen.training import recipe as recipes
from tf_textgen.training.baseline import describe_baseline, read_baseline
from tf_textgen.training.recipe import Recipe
from tf_textgen.training.run_folder import RunFolder, make_model
from tf_textgen.training.tokenizers import run_tokenizers

if TYPE_CHECKING:
    from tf_textgen.data.split import TokenizedSplit
    from tf_textgen.models.base import TextModel
    from tf_textgen.text.tokenizer import Tokenizer
    from tf_textgen.training.checkpoints import Checkpoints
    from tf_textgen.training.fitting import FitResult
    from tf_textgen.training.run_state import RunState
    from tf_textgen.training.validation import Sampler

HELP = "Train a model; the same command again goes on from the last checkpoint."
_NEXT_STEPS = (
    "tensorboard --logdir={run}/logs",
    "python -m tf_textgen generate --run.dir={run}",
    "python -m tf_textgen evaluate --run.dir={run}",
    "python -m tf_textgen export --run.dir={run}",
)


def define_flags(flag_values: flags.FlagValues) -> None:
    recipes.define_flags(flag_values)


class _Job(NamedTuple):
    """What every way of training begins with.

    Attributes:
      given: the recipe as the flags say it.
      recipe: the same with the files of its corpus.
      config: what config.json will hold, as far as it is known before training.
      source_tokenizer: that of the sources, if it is not the one of all texts.
      baseline: what `--run.baseline` reached.
    """

    given: Recipe
    recipe: Recipe
    folder: RunFolder
    config: dict[str, Any]
    tokenizer: Tokenizer
    source_tokenizer: Tokenizer | None
    splits: dict[str, TokenizedSplit]
    checkpoints: Checkpoints
    baseline: dict[str, Any] | None

    def describe(self, model: TextModel) -> str:
        of_sources = f", {self.source_tokenizer.vocabulary_size:,} of sources" if self.source_tokenizer else ""
        ids = f"{self.tokenizer.vocabulary_size:,} token ids{of_sources}"
        return f"{self.recipe.model}: {model.count_params():,} parameters, {ids}"

    def sampler(self, model: TextModel) -> Sampler | None:
        from tf_textgen.generator import TextGenerator
        from tf_textgen.training.samples import make_sampler

        generator = TextGenerator(
            model,
            self.tokenizer,
            prompt_format=loading.prompt_format(self.config),
            max_new_tokens=max(256, self.recipe.run.sample_tokens),
            truncation_side=loading.truncation_side(self.config),
            source_tokenizer=self.source_tokenizer,
        )
        split = self.splits.get("valid", self.splits["train"])
        return make_sampler(generator, self.recipe.run, self.recipe.decoding, split)


def run(flag_values: flags.FlagValues) -> int:
    """Returns the exit code."""
    recipe = Recipe.from_flags(flag_values)
    recipe.check_complete()
    with RunFolder(recipe.run.dir) as folder:
        # What the flags alone tell is compared, and the recipe written, before TensorFlow is imported; the form of the
        # data may yet come from the corpus.
        folder.check_same_run({part: values for part, values in recipe.to_json().items() if part != "data"})
        if folder.recorded() is None:
            folder.write_recipe(recipe.flag_lines())
        import_tensorflow_quietly()
        job = _open(recipe, folder)
        return {"gradients": _fit, "counting": _count}[family(recipe.model).trained_by](job)


def _open(given: Recipe, folder: RunFolder) -> _Job:
    """Tokenizer and data, compared with what the folder has recorded."""
    from tf_textgen.data.dataset import open_corpus
    from tf_textgen.training.checkpoints import Checkpoints
    from tf_textgen.training.word_vectors import vectors_digest

    recipe = given.with_files()
    vectors = vectors_digest(recipe.embedding)
    folder.check_same_run(recipe.to_json())
    tokenizer, source_tokenizer = run_tokenizers(recipe, folder)
    check_against_vocabulary(recipe.decoding, tokenizer.vocabulary_size)
    check_against_source(recipe.decoding, loading.prompt_format(recipe.to_json()) in ("pair", "source"))
    splits = open_corpus(recipe.data, tokenizer, source_tokenizer=source_tokenizer)
    source_size = source_tokenizer.vocabulary_size if source_tokenizer else None
    config = {
        **recipe.to_json(),
        "model_config": recipe.model_for(tokenizer.vocabulary_size, tokenizer.pad_id, source_size).to_json(),
        "tokenizer_fingerprint": tokenizer.fingerprint,
        **({"source_tokenizer_fingerprint": source_tokenizer.fingerprint} if source_tokenizer else {}),
        "files": {name: split.shards.manifest["files"] for name, split in splits.items()},
        "vectors": vectors,
    }
    folder.check_same_run(config)
    baseline = read_baseline(recipe.run.baseline, config) if recipe.run.baseline else None
    folder.write_recipe(given.flag_lines())
    checkpoints = Checkpoints(folder.checkpoints, recipe.run.keep_checkpoints)
    return _Job(given, recipe, folder, config, tokenizer, source_tokenizer, splits, checkpoints, baseline)


def _fit(job: _Job) -> int:
    """Trains by steps of an optimizer."""
    from tf_textgen.training.fitting import fit, open_data, restore_newest
    from tf_textgen.training.progress import format_duration
    from tf_textgen.training.word_vectors import load_word_vectors

    recipe = job.recipe
    job.folder.write_config(job.config)
    model = _compiled_model(recipe, job.config)
    state = restore_newest(job.checkpoints, model)
    print(job.describe(model), *(split.summary() for split in job.splits.values()), sep="\n")
    if decay := recipe.optimizer.ema_decay:
        print(f"moving average of the weights, decay {decay:g}: validated, sampled and exported in their place")
    if state.step:
        print(f"going on from step {state.step}")
    elif recipe.embedding.file:
        sides = {"source": job.source_tokenizer or job.tokenizer, "target": job.tokenizer}
        vectors, side = recipe.embedding.file, recipe.embedding.side
        print(*load_word_vectors(model, vectors, side, sides, job.splits["train"]), sep="\n")
    kind = family(recipe.model).kind
    data = open_data(job.splits, recipe.data, model_kind=kind, seed=recipe.run.seed, start_step=state.step)
    result = fit(model, data, recipe.run, job.folder, job.checkpoints, state, sampler=job.sampler(model))
    if result.signal is not None:
        return 128 + result.signal
    speed = f" ({result.tokens_per_second:,.0f} tokens/s)" if result.tokens_per_second else ""
    print(f"trained {state.step} steps in {format_duration(state.seconds)}{speed}")
    _finish(job, model, state, result)
    return 0


def _count(job: _Job) -> int:
    """Trains by one pass over the data, unless a checkpoint tells that it was done."""
    from tf_textgen.training.counting import count_run, restore_count
    from tf_textgen.training.fitting import FitResult
    from tf_textgen.training.validation import SampleFile

    print(*(split.summary() for split in job.splits.values()), sep="\n")
    done = restore_count(job.folder, job.checkpoints, job.config)
    model, state, config = done or count_run(job.splits["train"], job.folder, job.checkpoints, job.config)
    model.compile(jit_compile=False)
    print(job.describe(model))
    print(f"counted {state.tokens:,} tokens in {state.seconds:.1f} s" + (", before now" if done else ""))
    speed = state.tokens / state.seconds if state.seconds else 0.0
    _finish(job._replace(config=config), model, state, FitResult(None, speed, None))
    sampler = job.sampler(model)
    if not done and sampler is not None:
        SampleFile(job.folder.samples).on_sample(state.step, sampler(state.step))
    return 0


def _compiled_model(recipe: Recipe, config: dict[str, Any]) -> TextModel:
    from tf_textgen.training.fitting import use_xla
    from tf_textgen.training.optimizers import make_optimizer

    model, optimizer = make_model(config), recipe.optimizer
    model.compile(
        make_optimizer(optimizer, model.trainable_variables),
        label_smoothing=optimizer.label_smoothing,
        clip_norm=optimizer.clip_norm or None,
        carried_rows=recipe.data.carried_rows,
        ema_decay=optimizer.ema_decay,
        jit_compile=use_xla(recipe.run, model, is_pairs=recipe.data.is_pairs),
    )
    return model


def _finish(job: _Job, model: TextModel, state: RunState, result: FitResult) -> None:
    """Validates the best checkpoint, writes `run.json`, says what to do next."""
    from tf_textgen.training.fitting import open_validation
    from tf_textgen.training.progress import describe_metrics
    from tf_textgen.training.record import make_record
    from tf_textgen.training.validation import evaluate

    best, folder = job.checkpoints.find("best"), job.folder
    job.checkpoints.restore_weights(best, model)
    batches, bytes_per_token = open_validation(job.splits, job.recipe.data, model_kind=family(job.recipe.model).kind)
    validation = evaluate(model, batches, bytes_per_token) if batches else {}
    lines = job.given.flag_lines()
    before, baseline = folder.record(), job.baseline
    folder.write_record(make_record(lines, job.config, state, model, result, best, validation, before, baseline))
    if validation:
        print(f"best checkpoint, of step {best}: {describe_metrics(validation)}")
    if baseline:
        print(describe_baseline(baseline))
    steps = _NEXT_STEPS if folder.logs.exists() else [line for line in _NEXT_STEPS if "tensorboard" not in line]
    print("next:", *(f"  {line.format(run=shlex.quote(str(folder.path)))}" for line in steps), sep="\n")
