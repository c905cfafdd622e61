"""Trains a model, or continues with a training.

If `TF_CONFIG` names several workers, the same command on each of them is one training: the first
one writes, into a folder that all of them can read.

Exit codes: 0 done; 2 bad input, a loss that is no number, a full disk; 3 another worker was lost;
130 (SIGINT) or 143 (SIGTERM) saved and stopped.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.distribution.cluster import WORKER_LOST_EXIT_CODE, Cluster, read_cluster
from tf_textgen.errors import job_command
from tf_textgen.models import family
from tf_textgen.runs import recipe as recipes
from tf_textgen.runs.baseline import describe_baseline
from tf_textgen.runs.recipe import Recipe
from tf_textgen.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from tf_textgen.models.base import TextModel
    from tf_textgen.runs.record import FitResult
    from tf_textgen.runs.run_state import RunState
    from tf_textgen.training.opening import OpenedRun

HELP = "Train a model; the same command again continues from the last checkpoint."


def define_flags(flag_values: flags.FlagValues) -> None:
    recipes.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> int:
    """Returns the exit code."""
    recipe = Recipe.from_flags(flag_values)
    recipe.check_complete()
    cluster = read_cluster(os.environ)
    with RunFolder(recipe.run.dir, writes=cluster.is_chief) as folder:
        # What the flags alone tell is compared, and the recipe written, before TensorFlow is
        # imported; the form of the data may yet come from the corpus.
        folder.check_same_run(
            {part: values for part, values in recipe.to_json().items() if part != "data"}
        )
        if folder.recorded() is None:
            folder.write_recipe(recipe.flag_lines())
        import_tensorflow_quietly()
        return {"gradients": _train, "counting": _count}[family(recipe.model).trained_by](
            recipe, folder, cluster
        )


def _train(recipe: Recipe, folder: RunFolder, cluster: Cluster) -> int:
    """Trains by steps of an optimizer, on all replicas; a worker that another one leaves ends at
    once.
    """
    from tf_textgen.distribution.strategies import make_strategy
    from tf_textgen.distribution.workers import WorkerLost, Workers, watched
    from tf_textgen.runs.checkpoints import Checkpoints

    if len(cluster.workers) > 1:
        print(
            f"worker {cluster.index} of {len(cluster.workers)} waits for the others",
            file=sys.stderr,
            flush=True,
        )
    try:
        with watched(cluster, Checkpoints(folder.checkpoints)):
            workers = Workers(make_strategy(recipe.run, cluster), cluster)
            with workers.strategy.scope():
                from tf_textgen.training.opening import open_in_turn

                return _fit(open_in_turn(recipe, folder, workers))
    except WorkerLost as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # TensorFlow's threads still wait for the worker that is gone; nothing of this process is
        # left to be written.
        os._exit(WORKER_LOST_EXIT_CODE)


def _fit(opened: OpenedRun) -> int:
    from tf_textgen.training.fitting import fit, open_data, restore_newest
    from tf_textgen.training.progress import format_duration

    recipe = opened.recipe
    workers = opened.workers
    opened.folder.write_config(opened.config)
    model = opened.compiled_model()
    state = restore_newest(opened.checkpoints, model, workers)
    replicas = workers.strategy.num_replicas_in_sync
    on = f", on {replicas} replicas" if replicas > 1 else ""
    opened.say(opened.describe(model) + on, *opened.summaries())
    if decay := recipe.optimizer.ema_decay:
        opened.say(
            f"moving average of the weights, decay {decay:g}: validated, sampled and exported in "
            "their place"
        )
    if state.step:
        opened.say(f"going on from step {state.step}")
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
    parts = (opened.folder, opened.checkpoints, state, workers)
    result = fit(model, data, recipe.run, *parts, sampler=opened.sampler(model))
    if result.signal is not None:
        workers.wait()
        return 128 + result.signal
    speed = f" ({result.tokens_per_second:,.0f} tokens/s)" if result.tokens_per_second else ""
    opened.say(f"trained {state.step} steps in {format_duration(state.seconds)}{speed}")
    _finish(opened, model, state, result)
    workers.wait()
    return 0


def _count(recipe: Recipe, folder: RunFolder, cluster: Cluster) -> int:
    """Trains by one pass over the data, unless a checkpoint tells that it was done."""
    from tf_textgen.distribution.workers import Workers
    from tf_textgen.runs.record import FitResult
    from tf_textgen.training.counting import count_run, restore_count
    from tf_textgen.training.opening import open_run
    from tf_textgen.training.validation import SampleFile

    if not cluster.is_chief:
        print(f"{recipe.model} is counted by the first worker alone: there is nothing to do here")
        return 0
    opened = open_run(recipe, folder, Workers())
    opened.say(*opened.summaries())
    done = restore_count(folder, opened.checkpoints, opened.config)
    model, state, config = done or count_run(
        opened.splits["train"], folder, opened.checkpoints, opened.config
    )
    opened = opened._replace(config=config)
    model.compile(jit_compile=False)
    opened.say(opened.describe(model))
    opened.say(
        f"counted {state.tokens:,} tokens in {state.seconds:.1f} s"
        + (", before now" if done else "")
    )
    speed = state.tokens / state.seconds if state.seconds else 0.0
    _finish(opened, model, state, FitResult(None, speed, None))
    sampler = opened.sampler(model)
    if not done and sampler is not None:
        SampleFile(folder.samples).on_sample(state.step, sampler(state.step))
    return 0


def _finish(opened: OpenedRun, model: TextModel, state: RunState, result: FitResult) -> None:
    """Validates the best checkpoint, writes `run.json`, says what to do next."""
    from tf_textgen.data.dataset import evaluation_steps
    from tf_textgen.judging.likelihood import evaluate
    from tf_textgen.runs.record import make_record
    from tf_textgen.training.fitting import open_validation
    from tf_textgen.training.progress import describe_metrics

    folder = opened.folder
    workers = opened.workers
    valid = opened.splits.get("valid")
    best = int(workers.from_chief(opened.checkpoints.find("best") if workers.is_chief else 0))
    opened.checkpoints.restore_weights(best, model)
    validation = {}
    if valid is not None:
        batches = open_validation(
            valid, opened.recipe.data, model_kind=opened.kind, strategy=workers.strategy
        )
        steps = evaluation_steps(valid, opened.recipe.data, model_kind=opened.kind)
        validation = evaluate(model, batches, valid.num_bytes / valid.num_tokens, steps)
    given = opened.given.flag_lines()
    before = folder.record()
    baseline = opened.baseline
    folder.write_record(
        make_record(given, opened.config, state, model, result, best, validation, before, baseline)
    )
    if validation:
        opened.say(f"best checkpoint, of step {best}: {describe_metrics(validation)}")
    if baseline:
        opened.say(describe_baseline(baseline))
    opened.say("next:", *(f"  {command}" for command in _next_commands(opened)))


def _next_commands(opened: OpenedRun) -> list[str]:
    """The commands that a user runs after a training."""
    folder = opened.folder
    run_dir = f"--run.dir={shlex.quote(str(folder.path))}"
    commands = []
    if folder.logs.exists():
        commands.append(f"tensorboard --logdir={shlex.quote(str(folder.path))}/logs")
    commands.append(f"{job_command('generate')} {run_dir}")
    if "valid" in opened.splits:
        commands.append(f"{job_command('evaluate')} {run_dir}")
    elif opened.recipe.data.test:
        commands.append(f"{job_command('evaluate')} {run_dir} --split=test")
    commands.append(f"{job_command('export')} {run_dir}")
    return commands
