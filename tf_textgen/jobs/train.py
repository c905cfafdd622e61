"""Trains a model, or continues with a training.

If `TF_CONFIG` names several workers, the same command on each of them is one training. The first
worker writes, into a folder that all of them can read.

Exit codes: 0 done; 2 bad input, a loss that is not finite, a full disk; 3 another worker was lost;
130 (SIGINT) or 143 (SIGTERM) saved and stopped.
"""

from __future__ import annotations

import os
import sys

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.distribution.cluster import WORKER_LOST_EXIT_CODE, read_cluster
from tf_textgen.runs import recipe as recipes
from tf_textgen.runs.kept_files import check_outside_runs, check_reads_outside
from tf_textgen.runs.recipe import Recipe
from tf_textgen.runs.run_folder import RunFolder

HELP = "Train a model; the same command again continues from the last checkpoint."


def define_flags(flag_values: flags.FlagValues) -> None:
    recipes.define_flags(flag_values)


def run(flag_values: flags.FlagValues) -> int:
    """Returns the exit code."""
    recipe = Recipe.from_flags(flag_values)
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
