"""The facts on the model card of an export."""

import pytest


@pytest.mark.parametrize(
    "line",
    [
        "# model",
        "A model of the family transformer_lm that continues a text.",
        "| corpus | cats \\| mats |",
        "| parameters | 12345 |",
        "| validation.perplexity | 5.4321 |",
        "| max_new_tokens | 12 |",
        "- A request may ask for at most 24 new tokens.",
        "  - out: embedding float32 [?, 16], token_count int32 [?], truncated bool [?]",
    ],
)
def test_the_card_has_a_line(exported, line):
    assert line in card_of(exported).splitlines()


def test_the_card_has_the_inputs_but_not_every_field_of_the_record(exported):
    card = card_of(exported)
    assert "  - in: prompt string [?], temperature float32 [?]" in card
    assert "command" not in card


def card_of(exported):
    return (exported.loaded.path / "assets.extra" / "model_card.md").read_text("utf-8")
