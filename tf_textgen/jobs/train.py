"""Trains a model, or continues with a training.

If `TF_CONFIG` names several workers, the same command on each of them is one training. The first
worker writes, into a folder that all of them can read.

Exit codes: 0 done; 2 bad input, a loss that is not finite, a full disk; 3 another worker was lost;
130 (SIGINT) or 143 (SIGTERM) saved and stopped.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.config import flag_name
from tf_textgen.distribution.cluster import WORKER_LOST_EXIT_CODE, read_cluster
from tf_textgen.jobs.flagfile import with_flagfile
from tf_textgen.jobs.run_flags import given_flags
from tf_textgen.runs import recipe as recipes
from tf_textgen.runs.checkpoint_folder import CheckpointFolder
from tf_textgen.runs.kept_files import (
    RECIPE,
    check_outside_runs,
    check_reads_outside,
    is_made_by_train,
)
from tf_textgen.runs.recipe import Recipe
from tf_textgen.runs.recorded_config import read_config
from tf_textgen.runs.recorded_paths import locate_recipe
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_folder import RunFolder

HELP = "Train a model; the same command again continues from the last checkpoint."


def define_flags(flag_values: flags.FlagValues) -> None:
    recipes.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> int:
    """Returns the exit code."""
    recipe = read_recipe(flag_values)
    recipe.check_complete()
    cluster = read_cluster(os.environ)
    check_outside_runs("--run.dir", recipe.run.dir)
    check_reads_outside(recipe.run.dir, recipe.read_files())
    tokenizers = recipe.tokenizer_dirs()
    with RunFolder(recipe.run.dir, writes=cluster.is_chief, tokenizers=tokenizers) as folder:
        # Everything known from flags is compared, and the recipe written, before TensorFlow is
        # imported. The corpus may still change the configuration of the data.
        known = {part: values for part, values in recipe.known_parts().items() if part != "data"}
        folder.check_same_run(known)
        if folder.recorded() is None:
            folder.write_recipe(recipe.flag_lines())
        import_tensorflow_quietly()
        from tf_textgen.distribution.workers import WorkerLost
        from tf_textgen.training.run_training import train

        try:
            return train(recipe, folder, cluster)
        except WorkerLost as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            # TensorFlow's threads still wait for the lost worker, so the process would not end.
            # Nothing is left to write.
            os._exit(WORKER_LOST_EXIT_CODE)


def read_recipe(flag_values: flags.FlagValues) -> Recipe:
    """Returns the recipe of the command line.

    If it only names a run folder, with or without other flags of the run that may change, it is
    the recipe of that run with these flags.
    """
    directory = str(flag_values["run.dir"].value or "")
    given = {name for name in flag_values if flag_values[name].present}
    only_changes = given <= _changeable_flags()
    if not directory or not only_changes or not is_made_by_train(Path(directory)):
        return Recipe.from_flags(flag_values)
    recorded = with_flagfile([f"--flagfile={Path(directory) / RECIPE}"])
    kept = [line for line in recorded if line.lstrip("-").partition("=")[0] not in given]
    changes = given_flags(flag_values)
    for name in flag_values:
        flag_values[name].unparse()
    flag_values(["train", *kept, *changes])
    recipe = Recipe.from_flags(flag_values)
    if not CheckpointFolder(Path(directory) / "checkpoints").steps():
        return recipe
    config = read_config(directory)
    return locate_recipe(recipe, config.paths, config.files)


def _changeable_flags() -> set[str]:
    entries = dataclasses.fields(RunConfig)
    return {flag_name(RunConfig, entry.name) for entry in entries if entry.metadata["may_change"]}
