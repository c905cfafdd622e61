"""Trains a model, or goes on with a training.

Exit codes: 0 done; 2 bad input, a loss that is no number, a full disk; 130 (SIGINT) or 143 (SIGTERM) saved and stopped.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.decoding.decoding_config import check_against_source, check_against_vocabulary
from tf_textgen.jobs import loading
from tf_textgen.models import model_kind
from tf_textgen.training import recipe as recipes
from tf_textgen.training.recipe import Recipe
from tf_textgen.training.run_folder import RunFolder, make_model

if TYPE_CHECKING:
    from tf_textgen.models.base import TextModel
    from tf_textgen.text.tokenizer import Tokenizer
    from tf_textgen.training.checkpoints import Checkpoints
    from tf_textgen.training.fitting import FitResult, TrainingData
    from tf_textgen.training.run_state import RunState

HELP = "Train a model; the same command again goes on from the last checkpoint."
_NEXT_STEPS = """next:
  tensorboard --logdir={run}/logs
  python -m tf_textgen generate --run.dir={run}
  python -m tf_textgen evaluate --run.dir={run}
  python -m tf_textgen export --run.dir={run}"""


def define_flags(flag_values: flags.FlagValues) -> None:
    recipes.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> int:
    """Returns the exit code."""
    recipe = Recipe.from_flags(flag_values)
    recipe.run.check_complete()
    with RunFolder(recipe.run.dir) as folder:
        # What the flags alone tell is compared, and the recipe written, before TensorFlow is imported; the form of the
        # data may yet come from the corpus.
        folder.check_same_run({part: values for part, values in recipe.to_json().items() if part != "data"})
        if folder.recorded() is None:
            folder.write_recipe(recipe.flag_lines())
        return _train(recipe, folder)


def _train(given: Recipe, folder: RunFolder) -> int:
    import_tensorflow_quietly()
    from tf_textgen.data.dataset import open_corpus
    from tf_textgen.generator import TextGenerator
    from tf_textgen.training.checkpoints import Checkpoints
    from tf_textgen.training.fitting import fit, open_data, restore_newest
    from tf_textgen.training.samples import make_sampler

    recipe = given.with_files()
    folder.check_same_run(recipe.to_json())
    tokenizer = _tokenizer(recipe, folder)
    check_against_vocabulary(recipe.decoding, tokenizer.vocabulary_size)
    check_against_source(recipe.decoding, loading.prompt_format(recipe.to_json()) in ("pair", "source"))
    splits = open_corpus(recipe.data, tokenizer)
    config = {
        **recipe.to_json(),
        "model_config": recipe.model_for(tokenizer.vocabulary_size, tokenizer.pad_id).to_json(),
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "files": {name: split.shards.manifest["files"] for name, split in splits.items()},
    }
    folder.check_same_run(config)
    folder.write_recipe(given.flag_lines())
    folder.write_config(config)
    model = _compiled_model(recipe, config)
    checkpoints = Checkpoints(folder.checkpoints, recipe.run.keep_checkpoints)
    state = restore_newest(checkpoints, model)
    print(f"{recipe.model}: {model.count_params():,} parameters, {tokenizer.vocabulary_size:,} token ids")
    print(*(split.summary() for split in splits.values()), sep="\n")
    if state.step:
        print(f"going on from step {state.step}")
    kind = model_kind(recipe.model)
    data = open_data(splits, recipe.data, model_kind=kind, seed=recipe.run.seed, start_step=state.step)
    generator = TextGenerator(model, tokenizer, prompt_format=loading.prompt_format(config))
    sampler = make_sampler(generator, recipe.run, recipe.decoding, splits.get("valid", splits["train"]))
    result = fit(model, data, recipe.run, folder, checkpoints, state, sampler=sampler)
    if result.signal is not None:
        return 128 + result.signal
    _finish(given, config, folder, model, data, checkpoints, state, result)
    return 0


def _tokenizer(recipe: Recipe, folder: RunFolder) -> Tokenizer:
    """That of --tokenizer.dir, else the run's own, else one made from the training files; saved in the run folder."""
    from tf_textgen.data.sources import training_texts
    from tf_textgen.text import build_tokenizer, load_tokenizer

    if recipe.tokenizer_dir:
        tokenizer = load_tokenizer(recipe.tokenizer_dir)
    elif folder.recorded() is not None:
        return load_tokenizer(folder.tokenizer)
    else:
        tokenizer = build_tokenizer(recipe.tokenizer, training_texts(recipe.data))
    folder.check_same_run({"tokenizer_fingerprint": tokenizer.fingerprint})
    tokenizer.save(folder.tokenizer)
    return tokenizer


def _compiled_model(recipe: Recipe, config: dict[str, Any]) -> TextModel:
    from tf_textgen.training.fitting import use_xla
    from tf_textgen.training.optimizers import make_optimizer

    model, optimizer = make_model(config), recipe.optimizer
    model.compile(
        make_optimizer(optimizer, model.trainable_variables),
        label_smoothing=optimizer.label_smoothing,
        clip_norm=optimizer.clip_norm or None,
        jit_compile=use_xla(recipe.run, is_pairs=recipe.data.is_pairs),
    )
    return model


def _finish(
    recipe: Recipe,
    config: dict[str, Any],
    folder: RunFolder,
    model: TextModel,
    data: TrainingData,
    checkpoints: Checkpoints,
    state: RunState,
    result: FitResult,
) -> None:
    """Validates the best checkpoint, writes `run.json`, says what to do next."""
    from tf_textgen.training.progress import describe_metrics, format_duration
    from tf_textgen.training.record import make_record
    from tf_textgen.training.validation import evaluate

    best = checkpoints.find("best")
    checkpoints.restore(best, model)
    validation = evaluate(model, data.validation, data.validation_bytes_per_token) if data.validation else {}
    lines = recipe.flag_lines()
    folder.write_record(make_record(lines, config, state, model, result, best, validation, folder.record()))
    speed = f" ({result.tokens_per_second:,.0f} tokens/s)" if result.tokens_per_second else ""
    print(f"trained {state.step} steps in {format_duration(state.seconds)}{speed}")
    if validation:
        print(f"best checkpoint, of step {best}: {describe_metrics(validation)}")
    print(_NEXT_STEPS.format(run=shlex.quote(str(folder.path))))
