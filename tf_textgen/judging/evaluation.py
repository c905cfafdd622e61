"""The evaluation of a run on a split or on files: likelihood, and metrics of generated texts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_textgen import atomic_files
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.generator import TextGenerator
from tf_textgen.judging.evaluation_config import EvaluationConfig
from tf_textgen.judging.generation_metrics import check_one_text, evaluate_generation
from tf_textgen.judging.likelihood import evaluate_split
from tf_textgen.runs import record
from tf_textgen.runs.run_folder import LoadedRun


def evaluate_run(
    run: LoadedRun,
    data: DataConfig,
    evaluation: EvaluationConfig,
    generation: tuple[TextGenerator, DecodingConfig] | None = None,
) -> dict[str, Any]:
    """Computes the chosen metrics.

    Args:
      run: the run.
      data: the files of the split and how they are read.
      evaluation: the metrics, and the split or files.
      generation: the run's generator and its decoding parameters; needed by all metrics except
        likelihood.

    Returns:
      The results, flat.

    Raises:
      UserError: if the data or the decoding parameters cannot be used.
    """
    results: dict[str, Any] = {}
    if generation:
        check_one_text(generation[1])
    if "likelihood" in evaluation.metric_names:
        results = evaluate_split(
            run, data, split=evaluation.evaluated_split, stride=evaluation.stride
        )
    if generation:
        generator, decoding = generation
        results |= evaluate_generation(run, generator, decoding, data, evaluation)
    return results


def write_record(
    path: Path,
    run: LoadedRun,
    evaluation: EvaluationConfig,
    results: Mapping[str, Any],
    flags: Sequence[str],
) -> None:
    """Writes results with their origin as JSON.

    Args:
      path: the file.
      run: the run that was evaluated.
      evaluation: gives the name of the split.
      results: the results of `evaluate_run`.
      flags: the flags of the command.
    """
    origin = {
        "command": shlex.join(["python", "-m", "tf_textgen", "evaluate", *flags]),
        **record.source_version(),
        "device": record.describe_device(),
        "model": run.config.model,
        "step": run.step,
        "weights": run.weights,
        "split": evaluation.evaluated_split,
    }
    atomic_files.write_json(path, {**origin, **results})
