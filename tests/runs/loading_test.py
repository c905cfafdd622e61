"""Runs as generators: how their rows began, and how much they may add."""

import json

import pytest
from absl import flags

from tests.support import tiny_models
from tf_textgen import config
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.runs import loading, trained_generator


def _flags(*arguments):
    flag_values = flags.FlagValues()
    config.define_flags(DecodingConfig, flag_values)
    loading.define_run_flags(flag_values)
    flag_values(["job", *arguments])
    return flag_values


@pytest.mark.parametrize(
    ("recorded", "asked", "expected"),
    [
        (128, (), 8),  # the default of everybody: the prompt keeps half
        (12, (), 12),  # a recipe's own choice
        (40, (), 15),  # of a recipe, but beyond the context
        (128, ("--decoding.max_new_tokens=15",), 15),
    ],
)
def test_prompts_keep_their_room(recorded, asked, expected, capsys):
    generator, flag_values = (
        tiny_models.generator("transformer_lm", max_positions=16),
        _flags(*asked),
    )
    decoding = config.override(
        DecodingConfig(max_new_tokens=recorded, min_new_tokens=9), flag_values
    )
    found = loading.within_bounds(decoding, generator, flag_values)
    assert (found.max_new_tokens, found.min_new_tokens) == (expected, min(9, expected))
    note = "note: the run's --decoding.max_new_tokens=40 is taken as 15, one less than the context of this model\n"
    assert capsys.readouterr().err == note * (recorded == 40)


def test_a_wish_beyond_the_context_is_an_error():
    generator = tiny_models.generator("transformer_lm", max_positions=16)
    with pytest.raises(
        UserError, match="max_new_tokens=16: expected at most 15, one less than the context"
    ):
        loading.within_bounds(
            DecodingConfig(max_new_tokens=16), generator, _flags("--decoding.max_new_tokens=16")
        )


def test_decoding_flags_are_checked_beside_those_of_the_run(tmp_path):
    """Before a model is loaded: there is none here."""
    recorded = {"beam_width": 4, "num_best": 2}
    parts = {
        "model": "transformer_lm",
        "model_config": {},
        "data": {},
        "run": {"seed": 0, "precision": "float32"},
        "decoding": recorded,
    }
    (tmp_path / "config.json").write_text(json.dumps(parts))
    loading.check_decoding(_flags(f"--run.dir={tmp_path}", "--decoding.num_best=4"))
    with pytest.raises(
        UserError, match=r"--decoding.num_best=5: expected at most --decoding.beam_width=4"
    ):
        loading.check_decoding(_flags(f"--run.dir={tmp_path}", "--decoding.num_best=5"))
    with pytest.raises(
        UserError, match=r"--decoding.beam_width=4 and --decoding.top_k=3 contradict each other"
    ):
        loading.check_decoding(_flags(f"--run.dir={tmp_path}", "--decoding.top_k=3"))


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        ("rnn_seq2seq", {"format": "tsv", "batching": "windows"}, "source"),
        ("transformer_lm", {"format": "tsv", "batching": "windows"}, "pair"),
        ("transformer_lm", {"format": "dialogue", "batching": "windows"}, "pair"),
        ("transformer_lm", {"format": "text", "batching": "packed"}, "document"),
        ("transformer_lm", {"format": "text", "batching": "windows"}, "continuation"),
    ],
)
def test_prompt_format_is_that_of_the_training_rows(model, data, expected):
    assert trained_generator.prompt_format({"model": model, "data": data}) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [("text", "beginning"), ("dialogue", "beginning"), ("tsv", "end"), ("parallel", "end")],
)
def test_a_long_prompt_loses_what_training_rows_lost(form, expected):
    """As `tests/data/tokenizing_test.py` has it of the rows."""
    assert (
        trained_generator.truncation_side({"model": "rnn_seq2seq", "data": {"format": form}})
        == expected
    )
