"""Decoding flags next to the decoding parameters that a run recorded."""

import json

import pytest
from absl import flags

from tf_textgen import config
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.jobs import run_flags


def _flags(*arguments):
    flag_values = flags.FlagValues()
    config.define_flags(DecodingConfig, flag_values)
    run_flags.define_run_flags(flag_values)
    flag_values(["job", *arguments])
    return flag_values


def test_decoding_flags_are_checked_beside_those_of_the_run(tmp_path):
    """Before a model is loaded: there is none here."""
    recorded = {"beam_width": 4, "num_best": 2}
    parts = {
        "model": "transformer_lm",
        "model_config": {"vocabulary_size": 9},
        "data": {},
        "run": {"seed": 0, "precision": "float32"},
        "decoding": recorded,
    }
    (tmp_path / "config.json").write_text(json.dumps(parts))
    run_flags.check_decoding(_flags(f"--run.dir={tmp_path}", "--decoding.num_best=4"))
    with pytest.raises(
        UserError, match=r"--decoding.num_best=5: expected at most --decoding.beam_width=4"
    ):
        run_flags.check_decoding(_flags(f"--run.dir={tmp_path}", "--decoding.num_best=5"))
    with pytest.raises(
        UserError, match=r"--decoding.beam_width=4 and --decoding.top_k=3 contradict each other"
    ):
        run_flags.check_decoding(_flags(f"--run.dir={tmp_path}", "--decoding.top_k=3"))
