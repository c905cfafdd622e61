"""Tests of the facts that a family declares on its configuration."""

import pytest

from tf_textgen.errors import UserError
from tf_textgen.models import MODELS, family

FIRST_AND_LAST_FIELDS = {
    "rnn_seq2seq": (
        ["vocabulary_size", "source_vocabulary_size", "pad_id", "cell"],
        ["dropout", "tied_embeddings", "shared_embeddings"],
    ),
    "transformer_seq2seq": (
        ["vocabulary_size", "pad_id", "num_heads", "num_kv_heads"],
        ["source_vocabulary_size", "encoder_layers", "decoder_layers", "shared_embeddings"],
    ),
}


@pytest.mark.parametrize("name", FIRST_AND_LAST_FIELDS)
def test_the_order_in_config_json_is_that_of_version_0_1(name):
    names = list(family(name).config_class(vocabulary_size=9).to_json())
    first, last = FIRST_AND_LAST_FIELDS[name]
    assert names[: len(first)] == first
    assert names[-len(last) :] == last


def test_declared_facts():
    declared = {
        name: (
            entry.config_class.kind,
            entry.config_class.trained_by,
            entry.config_class.carries_state,
            entry.config_class.supports_xla,
            entry.config_class.has_embeddings,
        )
        for name, entry in MODELS.items()
    }
    assert declared == {
        "ngram": ("language_model", "counting", False, False, False),
        "rnn_lm": ("language_model", "gradients", True, True, True),
        "rnn_seq2seq": ("encoder_decoder", "gradients", False, True, True),
        "transformer_lm": ("language_model", "gradients", False, True, True),
        "transformer_seq2seq": ("encoder_decoder", "gradients", False, True, True),
    }


def test_the_longest_row_is_named_with_its_flag():
    learned = family("transformer_lm").config_class(vocabulary_size=9, max_positions=7)
    assert learned.context_limit == (7, "transformer_lm.max_positions", True)
    rotary = family("transformer_lm").config_class(vocabulary_size=9, positions="rotary")
    assert rotary.context_limit == (256, "transformer_lm.max_positions", False)
    assert family("rnn_lm").config_class(vocabulary_size=9).context_limit is None


@pytest.mark.parametrize("name", ["rnn_seq2seq", "transformer_seq2seq"])
def test_padding_is_a_token_of_both_sides(name):
    with pytest.raises(UserError, match="pad_id=5: expected an id below source_vocabulary_size=4"):
        family(name).config_class(vocabulary_size=9, source_vocabulary_size=4, pad_id=5)
