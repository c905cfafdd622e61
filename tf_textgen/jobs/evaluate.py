"""Evaluates a run on a split or on files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from tf_textgen import config
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.jobs import run_flags
from tf_textgen.judging.evaluation_config import EvaluationConfig, without_files

HELP = "Evaluate a run: perplexity, bits per byte; BLEU, chrF, ROUGE, diversity of generated texts."


def define_flags(flag_values: flags.FlagValues) -> None:
    run_flags.define_run_flags(flag_values)
    for config_class in (EvaluationConfig, DataConfig, DecodingConfig):
        config.define_flags(config_class, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    evaluation = config.from_flags(EvaluationConfig, flag_values)
    evaluation.check_used([name for name in flag_values if flag_values[name].present])
    evaluation.check_packages()
    run_flags.check_decoding(flag_values)
    evaluation.check_writable()
    loaded = run_flags.load(flag_values)
    trained = loaded.data
    data = without_files(trained) if evaluation.has_files else trained
    data = evaluation.with_files(config.override(data, flag_values))
    evaluation.check_data(data)
    evaluation.check_kept(Path(run_flags.run_dir(flag_values)), data, trained)

    from tf_textgen.judging.evaluation import evaluate_run, write_record

    generation = None
    if evaluation.generation_metrics:
        generation = run_flags.generator_and_decoding(loaded, flag_values)
    results = evaluate_run(loaded, data, evaluation, generation)
    if evaluation.record:
        given = run_flags.given_flags(flag_values)
        write_record(Path(evaluation.record), loaded, evaluation, results, given)
    _print(results, as_json=evaluation.json)


def _print(results: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
        return
    for name, value in results.items():
        if isinstance(value, int):
            value = f"{value:,}"
        elif isinstance(value, float):
            value = f"{value:.4f}"
        print(f"{name:<20} {value}")
