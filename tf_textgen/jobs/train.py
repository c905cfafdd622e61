"""Trains a model, or goes on with a training.

Exit codes: 0 done; 2 bad input, a loss that is no number, a full disk; 130 (SIGINT) or 143 (SIGTERM) saved and stopped.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from absl import flags

from tf_textgen.jobs import loading
from tf_textgen.training import recipe as recipes
from tf_textgen.training.recipe import Recipe
from tf_textgen.training.run_folder import RunFolder, make_model

if TYPE_CHECKING:
    from tf_textgen.data.split import TokenizedSplit
    from tf_textgen.models.base import TextModel
    from tf_textgen.text.tokenizer import Tokenizer
    from tf_textgen.training.checkpoints import Checkpoints
    from tf_textgen.training.fitting import FitResult, TrainingData
    from tf_textgen.training.run_state import RunState
    from tf_textgen.training.validation import Sampler

HELP = "Train a model; the same command again goes on from the last checkpoint."


def define_flags(flag_values: flags.FlagValues) -> None:
    recipes.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> int:
    """Returns the exit code."""
    recipe = Recipe.from_flags(flag_values)
    with RunFolder(recipe.run.dir) as folder:
        known = {part: values for part, values in recipe.to_json().items() if part != "data"}
        folder.check_same_run(known)
        if folder.recorded() is None:
            folder.write_recipe(recipe.flag_lines())
        return _train(recipe, folder)


def _train(recipe: Recipe, folder: RunFolder) -> int:
    from tf_textgen.data.corpora import with_corpus
    from tf_textgen.data.dataset import open_corpus
    from tf_textgen.training.checkpoints import Checkpoints
    from tf_textgen.training.fitting import fit, restore_newest
    from tf_textgen.training.optimizers import make_optimizer

    given, recipe = recipe, dataclasses.replace(recipe, data=with_corpus(recipe.data, recipe.data_dir))
    folder.check_same_run(recipe.to_json())
    tokenizer = _tokenizer(recipe, folder)
    splits = open_corpus(recipe.data, tokenizer)
    config = _config(recipe, tokenizer, splits)
    folder.check_same_run(config)
    folder.write_recipe(given.flag_lines())
    folder.write_config(config)

    model = make_model(config)
    optimizer = make_optimizer(recipe.optimizer, model.trainable_variables)
    model.compile(
        optimizer,
        label_smoothing=recipe.optimizer.label_smoothing,
        clip_norm=recipe.optimizer.clip_norm or None,
        jit_compile=_use_xla(recipe),
    )
    checkpoints = Checkpoints(folder.checkpoints, recipe.run.keep_checkpoints)
    state = restore_newest(checkpoints, model)
    print(f"{recipe.model}: {model.count_params():,} parameters, vocabulary of {tokenizer.vocabulary_size:,} tokens")
    print(*(split.summary() for split in splits.values()), sep="\n")
    if state.step:
        print(f"going on from step {state.step}")
    data = _training_data(recipe, splits, state)
    sampler = _sampler(recipe, config, model, tokenizer, splits)
    result = fit(model, data, recipe.run, folder, checkpoints, state, sampler=sampler)
    if result.signal is not None:
        return 128 + result.signal
    _finish(config, folder, model, data, checkpoints, state, result)
    return 0


def _tokenizer(recipe: Recipe, folder: RunFolder) -> Tokenizer:
    """The run's own, else that of --tokenizer.dir, else one made from the training files; saved in the run folder."""
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


def _config(recipe: Recipe, tokenizer: Tokenizer, splits: dict[str, TokenizedSplit]) -> dict[str, Any]:
    """The content of `config.json`."""
    return {
        **recipe.to_json(),
        "model_config": recipe.model_for(tokenizer.vocabulary_size, tokenizer.pad_id).to_json(),
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "files": {name: split.shards.manifest["files"] for name, split in splits.items()},
    }


def _use_xla(recipe: Recipe) -> bool:
    """XLA compiles anew for each shape, and on a CPU it has no bfloat16 matrix product."""
    import tensorflow as tf

    if recipe.run.xla != "auto":
        return recipe.run.xla == "on"
    slow_bfloat16 = recipe.run.precision != "float32" and not tf.config.list_physical_devices("GPU")
    return not recipe.data.is_pairs and not slow_bfloat16 and len(tf.config.list_logical_devices()) == 1


def _training_data(recipe: Recipe, splits: dict[str, TokenizedSplit], state: RunState) -> TrainingData:
    from tf_textgen.data.dataset import evaluation_batches, steps_per_epoch, training_batches
    from tf_textgen.models import model_kind
    from tf_textgen.training.fitting import TrainingData

    kind, train, valid = model_kind(recipe.model), splits["train"], splits.get("valid")
    batches = training_batches(train, recipe.data, seed=recipe.run.seed, start_step=state.step, model_kind=kind)
    return TrainingData(
        batches,
        steps_per_epoch(train, recipe.data, model_kind=kind),
        train.num_bytes / train.num_tokens,
        evaluation_batches(valid, recipe.data, model_kind=kind) if valid else None,
        valid.num_bytes / valid.num_tokens if valid else None,
    )


def _sampler(
    recipe: Recipe, config: dict[str, Any], model: TextModel, tokenizer: Tokenizer, splits: dict[str, TokenizedSplit]
) -> Sampler | None:
    from tf_textgen.generator import TextGenerator
    from tf_textgen.training.samples import make_sampler, prompts_from

    generator = TextGenerator(model, tokenizer, prompt_format=loading.prompt_format(config))
    prompts = list(recipe.run.sample_prompt) or prompts_from(splits["valid"], generator, recipe.run.samples)
    return make_sampler(generator, prompts, recipe.decoding, recipe.run.sample_tokens)


def _finish(
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
    folder.write_record(make_record(config, state, model, result, best, validation, folder.record()))
    speed = f" ({result.tokens_per_second:,.0f} tokens/s)" if result.tokens_per_second else ""
    print(f"trained {state.step} steps in {format_duration(state.seconds)}{speed}")
    if validation:
        print(f"best step {best}: {describe_metrics(validation)}")
    print(_NEXT.format(run=shlex.quote(str(folder.path))))


_NEXT = """next:
  tensorboard --logdir={run}/logs
  python -m tf_textgen generate --run.dir={run}
  python -m tf_textgen evaluate --run.dir={run}
  python -m tf_textgen export --run.dir={run}"""
