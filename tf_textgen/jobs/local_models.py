"""Runs and exports on this machine, as models that `generate` asks."""

from __future__ import annotations

from absl import flags

from tf_textgen import config
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import check_against_source, check_against_vocabulary
from tf_textgen.export.exported import Exported, decoding_of
from tf_textgen.jobs import run_flags
from tf_textgen.jobs.answering import AnsweringModel


def run_model(flag_values: flags.FlagValues, *, batch_size: int) -> AnsweringModel:
    """Loads the run that the flags name."""
    run = run_flags.load(flag_values)
    generator, decoding = run_flags.generator_and_decoding(run, flag_values)
    generator.check(decoding)
    return AnsweringModel(
        generate=lambda texts: generator.generate(texts, decoding, batch_size=batch_size),
        is_pair=generator.is_pair,
        truncation_side=generator.truncation_side,
        data=run.config.data,
    )


def exported_model(path: str, flag_values: flags.FlagValues) -> AnsweringModel:
    """Loads a SavedModel, which needs none of the run's code."""
    # Bad values are reported before the model is loaded.
    decoding = config.override(decoding_of(path), flag_values)
    exported = Exported(path)
    if exported.vocabulary_size:
        check_against_vocabulary(decoding, exported.vocabulary_size)
    check_against_source(decoding, exported.is_pair)
    return AnsweringModel(
        generate=lambda texts: exported.generate(texts, decoding),
        is_pair=exported.is_pair,
        # Exports of the first version do not record it, and cut the beginning.
        truncation_side=exported.config.get("truncation_side", "beginning"),
        data=_data_of(exported),
    )


def _data_of(exported: Exported) -> DataConfig | None:
    """Returns the data of the run that was exported; None if it was made from Python."""
    recorded = exported.config.get("data")
    return DataConfig.from_json(recorded) if recorded else None
