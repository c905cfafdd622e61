"""A training from its opened run to its record: by steps of an optimizer, or by counting."""

from __future__ import annotations

import shlex
import sys

from tf_textgen.data.dataset import evaluation_steps
from tf_textgen.distribution.cluster import Cluster
from tf_textgen.distribution.strategies import make_strategy
from tf_textgen.distribution.workers import Workers, watched
from tf_textgen.errors import job_command
from tf_textgen.judging.likelihood import evaluate
from tf_textgen.models import family
from tf_textgen.models.base import TextModel
from tf_textgen.runs.baseline import describe_baseline
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.recipe import Recipe
from tf_textgen.runs.record import FitResult, make_record
from tf_textgen.runs.run_folder import RunFolder
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.counting import count_run, restore_count
from tf_textgen.training.fitting import fit, open_data, open_validation, restore_newest
from tf_textgen.training.opening import OpenedRun, open_in_turn, open_run
from tf_textgen.training.progress import describe_metrics, format_duration
from tf_textgen.training.validation import SampleFile


def train(recipe: Recipe, folder: RunFolder, cluster: Cluster) -> int:
    """Trains the run of a recipe, or continues with it.

    Args:
      recipe: the recipe.
      folder: the run folder, locked by this process if it writes.
      cluster: the workers of the training.

    Returns:
      The exit code: 0, or 128 + the signal that stopped the training.

    Raises:
      UserError: if data or run folder cannot be used.
      WorkerLost: if another worker was lost.
    """
    if family(recipe.model).trained_by == "counting":
        return _train_by_counting(recipe, folder, cluster)
    num_workers = len(cluster.workers)
    if num_workers > 1:
        waiting = f"worker {cluster.index} of {num_workers} waits for the others"
        print(waiting, file=sys.stderr, flush=True)
    with watched(cluster, Checkpoints(folder.checkpoints)):
        workers = Workers(make_strategy(recipe.run, cluster), cluster)
        with workers.strategy.scope():
            return _train_by_gradients(open_in_turn(recipe, folder, workers))


def _train_by_gradients(opened: OpenedRun) -> int:
    recipe = opened.recipe
    workers = opened.workers
    opened.folder.write_config(opened.config)
    model = opened.compiled_model()
    state = restore_newest(opened.checkpoints, model, workers)
    _say_start(opened, model)
    if state.step:
        opened.say(f"continuing from step {state.step}")
    else:
        opened.say(*opened.load_word_vectors(model))
    data = open_data(
        opened.splits,
        recipe.data,
        model_kind=opened.kind,
        seed=recipe.run.seed,
        start_step=state.step,
        strategy=workers.strategy,
        micro_batches=recipe.run.micro_batches,
    )
    result = fit(
        model,
        data,
        recipe.run,
        opened.folder,
        opened.checkpoints,
        state,
        workers,
        sampler=opened.sampler(model),
    )
    if result.signal is not None:
        workers.wait()
        return 128 + result.signal
    speed = f" ({result.tokens_per_second:,.0f} tokens/s)" if result.tokens_per_second else ""
    opened.say(f"trained {state.step} steps in {format_duration(state.seconds)}{speed}")
    _finish(opened, model, state, result)
    workers.wait()
    return 0


def _say_start(opened: OpenedRun, model: TextModel) -> None:
    description = opened.describe(model)
    replicas = opened.workers.strategy.num_replicas_in_sync
    if replicas > 1:
        description += f", on {replicas} replicas"
    opened.say(description, *opened.summaries())
    decay = opened.recipe.optimizer.ema_decay
    if decay:
        opened.say(
            f"moving average of the weights, decay {decay:g}: validated, sampled and exported "
            "instead of the trained weights"
        )


def _train_by_counting(recipe: Recipe, folder: RunFolder, cluster: Cluster) -> int:
    """Trains by one pass over the data, unless a checkpoint shows that it is done."""
    if not cluster.is_chief:
        print(f"{recipe.model} is counted by the first worker only: nothing to do here")
        return 0
    opened = open_run(recipe, folder, Workers())
    opened.say(*opened.summaries())
    counted_before = restore_count(folder, opened.checkpoints, opened.config)
    counted = counted_before
    if counted is None:
        train = opened.splits["train"]
        counted = count_run(train, folder, opened.checkpoints, opened.config)
    model, state, config = counted
    opened = opened._replace(config=config)
    model.compile(jit_compile=False)
    opened.say(opened.describe(model))
    when = ", before now" if counted_before else ""
    opened.say(f"counted {state.tokens:,} tokens in {state.seconds:.1f} s{when}")
    speed = state.tokens / state.seconds if state.seconds else 0.0
    _finish(opened, model, state, FitResult(None, speed, None))
    sampler = opened.sampler(model)
    if not counted_before and sampler is not None:
        SampleFile(folder.samples).on_sample(state.step, sampler(state.step))
    return 0


def _finish(opened: OpenedRun, model: TextModel, state: RunState, result: FitResult) -> None:
    """Validates the best checkpoint, writes `run.json`, and prints the commands that come next."""
    folder = opened.folder
    workers = opened.workers
    found = opened.checkpoints.find("best") if workers.is_chief else 0
    best = int(workers.from_chief(found))
    opened.checkpoints.restore_weights(best, model)
    validation = {}
    valid = opened.splits.get("valid")
    if valid is not None:
        data = opened.recipe.data
        batches = open_validation(valid, data, model_kind=opened.kind, strategy=workers.strategy)
        steps = evaluation_steps(valid, data, model_kind=opened.kind)
        validation = evaluate(
            model, batches, valid.num_bytes / valid.num_tokens, steps, valid.unknown_byte_share
        )
    record = make_record(
        opened.given.flag_lines(),
        opened.config,
        state,
        model,
        result,
        best,
        validation,
        before=folder.record(),
        baseline=opened.baseline,
    )
    folder.write_record(record)
    if validation:
        opened.say(f"best checkpoint, of step {best}: {describe_metrics(validation)}")
    if opened.baseline:
        opened.say(describe_baseline(opened.baseline))
    opened.say("next:", *(f"  {command}" for command in _next_commands(opened)))


def _next_commands(opened: OpenedRun) -> list[str]:
    folder = shlex.quote(str(opened.folder.path))
    commands = []
    if opened.folder.logs.exists():
        commands.append(f"tensorboard --logdir={folder}/logs")
    commands.append(f"{job_command('generate')} --run.dir={folder}")
    if "valid" in opened.splits:
        commands.append(f"{job_command('evaluate')} --run.dir={folder}")
    elif opened.recipe.data.test:
        commands.append(f"{job_command('evaluate')} --run.dir={folder} --split=test")
    commands.append(f"{job_command('export')} --run.dir={folder}")
    return commands
