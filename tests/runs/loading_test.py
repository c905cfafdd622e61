"""Runs as generators: how their prompts start, and how much they may add."""

import pytest

from tests.support import tiny_models
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.runs import loading, trained_generator


@pytest.mark.parametrize(
    ("max_new_tokens", "is_chosen", "expected"),
    [
        # The default: half of the context is the prompt's.
        (128, False, 8),
        # A recipe's own choice, within the context and beyond it.
        (12, False, 12),
        (40, False, 15),
        (15, True, 15),
    ],
)
def test_prompts_keep_their_room(max_new_tokens, is_chosen, expected, capsys):
    generator = tiny_models.generator("transformer_lm", max_positions=16)
    decoding = DecodingConfig(max_new_tokens=max_new_tokens, min_new_tokens=9)
    found = loading.fit_to_context(decoding, generator, is_chosen=is_chosen)
    assert (found.max_new_tokens, found.min_new_tokens) == (expected, min(9, expected))
    note = (
        "note: the run's --decoding.max_new_tokens=40 is reduced to 15, one less than the context "
        "of this model\n"
    )
    assert capsys.readouterr().err == (note if max_new_tokens == 40 else "")


def test_more_tokens_than_the_context_has_are_an_error():
    generator = tiny_models.generator("transformer_lm", max_positions=16)
    with pytest.raises(
        UserError, match="max_new_tokens=16: expected at most 15, one less than the context"
    ):
        loading.fit_to_context(DecodingConfig(max_new_tokens=16), generator, is_chosen=True)


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
    assert trained_generator.prompt_format(model, DataConfig(**data)) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [("text", "beginning"), ("dialogue", "beginning"), ("tsv", "end"), ("parallel", "end")],
)
def test_a_long_prompt_loses_what_training_rows_lost(form, expected):
    """As `tests/data/tokenizing_test.py` has it of the rows."""
    sides = {"train": ("a",), "train_target": ("b",)} if form == "parallel" else {}
    data = DataConfig(format=form, **sides)
    assert trained_generator.truncation_side(data) == expected
