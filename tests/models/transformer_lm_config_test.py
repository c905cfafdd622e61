import subprocess
import sys

import pytest

from tf_textgen.errors import UserError
from tf_textgen.models.transformer_lm_config import TransformerLMConfig


def _config(**fields):
    return TransformerLMConfig(vocabulary_size=10, **fields)


def test_widths_that_are_not_set():
    config = _config(width=96, num_heads=6)
    assert (config.key_value_heads, config.key_width, config.head_value_width) == (6, 16, 16)
    assert (config.token_width, config.inner_width) == (96, 384)


def test_widths_that_are_set():
    config = _config(
        num_heads=6, num_kv_heads=2, head_width=10, value_width=12, embedding_width=8, width=7
    )
    assert (
        config.key_value_heads,
        config.key_width,
        config.head_value_width,
        config.token_width,
    ) == (2, 10, 12, 8)
    assert _config(feed_forward_width=11, activation="swiglu").inner_width == 11


@pytest.mark.parametrize("width, inner", [(768, 2048), (128, 344), (4, 16)])
def test_swiglu_keeps_the_number_of_weights(width, inner):
    assert _config(width=width, activation="swiglu").inner_width == inner


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"width": 10, "num_heads": 4}, "width=10 does not divide by --transformer_lm.num_heads=4"),
        (
            {"num_heads": 4, "num_kv_heads": 3},
            "num_kv_heads=3: expected a divisor of --transformer_lm.num_heads=4",
        ),
        (
            {"positions": "rotary", "head_width": 5},
            "positions=rotary with heads of width 5: expected an even width",
        ),
        ({"positions": "rotari"}, "positions=rotari: expected one of .*did you mean 'rotary'"),
        ({"dropout": 1.0}, "dropout=1: expected a value at least 0 and below 1"),
        ({"num_layers": 0}, "num_layers=0: expected a value at least 1"),
        ({"pad_id": 10}, "pad_id=10: expected an id below vocabulary_size=10"),
    ],
)
def test_bad_fields_say_what_to_change(fields, message):
    with pytest.raises(UserError, match=message):
        _config(**fields)


def test_json_round_trip():
    config = _config(num_kv_heads=2, positions="rotary")
    assert TransformerLMConfig.from_json(config.to_json()) == config


def test_the_table_of_models_needs_no_tensorflow():
    code = "import sys, tf_textgen.models; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
