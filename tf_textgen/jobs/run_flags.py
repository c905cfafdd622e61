"""The flags by which jobs name a trained run, and the run, generator and decoding of them.

Does not import TensorFlow until a run is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.config import define_path_flag, override
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.runs.recorded_config import read_config
from tf_textgen.runs.run_folder import load_run

if TYPE_CHECKING:
    from tf_textgen.generator import TextGenerator
    from tf_textgen.runs.run_folder import LoadedRun


def define_run_flags(flag_values: flags.FlagValues) -> None:
    """Defines `--run.dir`, `--run.checkpoint` and `--run.weights`."""
    define_run_dir_flag(flag_values)
    text = "Checkpoint to load: best (lowest validation loss), last, or a step."
    flags.DEFINE_string("run.checkpoint", "best", text, flag_values=flag_values)
    text = (
        "Weights to load: trained, or their moving average, which is the default if the checkpoint "
        "has one."
    )
    flags.DEFINE_enum("run.weights", None, ["average", "trained"], text, flag_values=flag_values)


def define_run_dir_flag(flag_values: flags.FlagValues) -> None:
    define_path_flag("run.dir", None, "Run folder that `train` wrote.", flag_values)


def run_dir(flag_values: flags.FlagValues) -> str:
    """Returns the value of `--run.dir`; raises `UserError` if it is missing."""
    if not flag_values["run.dir"].value:
        raise UserError(
            "--run.dir is missing: expected the folder of a run, as `train --run.dir=...` wrote it"
        )
    return str(flag_values["run.dir"].value)


def load(flag_values: flags.FlagValues) -> LoadedRun:
    """Loads the run that the flags name.

    Raises:
      UserError: if `--run.dir` is missing or is not a run folder.
    """
    directory = run_dir(flag_values)
    import_tensorflow_quietly()
    checkpoint = str(flag_values["run.checkpoint"].value)
    return load_run(directory, checkpoint=checkpoint, weights=flag_values["run.weights"].value)


def given_flags(flag_values: flags.FlagValues) -> list[str]:
    """Returns the flags on the command line, in a form that gives them again."""
    given = []
    for name in flag_values:
        if flag_values[name].present:
            given += [line for line in flag_values[name].serialize().split("\n") if line]
    return given


def check_decoding(flag_values: flags.FlagValues) -> None:
    """Raises `UserError` if decoding flags contradict each other or those of the run.

    It is called before a run is loaded, which takes seconds.
    """
    directory = flag_values["run.dir"].value
    recorded = read_config(directory).decoding if directory else DecodingConfig()
    override(recorded, flag_values)


def generator_and_decoding(
    run: LoadedRun,
    flag_values: flags.FlagValues,
    *,
    max_new_tokens: int | None = None,
    max_prompt_tokens: int = 1024,
    jit_compile: bool = False,
) -> tuple[TextGenerator, DecodingConfig]:
    """Returns the run's generator, and its decoding parameters with those of the command line.

    Args:
      run: the run.
      flag_values: the flags of `DecodingConfig`.
      max_new_tokens: bound of a request; None is the number that the parameters ask for, and at
        least 256.
      max_prompt_tokens: bound of a request.
      jit_compile: whether XLA compiles the graphs.

    Raises:
      UserError: if the model cannot decode with these parameters.
    """
    from tf_textgen.runs import loading

    decoding = override(run.config.decoding, flag_values)
    loading.check_decoding(run, decoding)
    generator = loading.generator_of(
        run,
        max_new_tokens=max_new_tokens or max(256, decoding.max_new_tokens),
        max_prompt_tokens=max_prompt_tokens,
        jit_compile=jit_compile,
    )
    is_chosen = bool(flag_values[f"{DecodingConfig.prefix}.max_new_tokens"].present)
    return generator, loading.fit_to_context(decoding, generator, is_chosen=is_chosen)
