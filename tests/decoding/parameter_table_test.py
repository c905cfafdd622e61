"""The table of decoding parameters: the promised names, types and defaults, and what follows from
it.
"""

import dataclasses
import subprocess
import sys

import pytest
import tensorflow as tf

from tf_textgen.client.inputs import DEFAULTS
from tf_textgen.decoding import cutoffs
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameter_table import BEAM_PARAMETERS, PARAMETERS
from tf_textgen.decoding.parameters import DTYPES, from_config, neutral_where, sanitize

# Inputs of signatures are promised: name -> dtype and value that the client sends.
PROMISED = {
    "temperature": ("float32", 1.0),
    "top_k": ("int32", 0),
    "top_p": ("float32", 1.0),
    "min_p": ("float32", 0.0),
    "typical_p": ("float32", 1.0),
    "epsilon_cutoff": ("float32", 0.0),
    "eta_cutoff": ("float32", 0.0),
    "repetition_penalty": ("float32", 1.0),
    "frequency_penalty": ("float32", 0.0),
    "presence_penalty": ("float32", 0.0),
    "no_repeat_ngram": ("int32", 0),
    "min_new_tokens": ("int32", 0),
    "max_new_tokens": ("int32", 128),
    "min_length_ratio": ("float32", 0.0),
    "max_length_ratio": ("float32", 0.0),
    "loop_repeats": ("int32", 0),
    "seed": ("int64", 0),
    "stop": ("string", ()),
    "banned": ("string", ()),
    "allowed": ("string", ()),
    "forced": ("string", ()),
    "forced_prefix": ("string", ""),
    "length_penalty": ("string", "gnmt"),
    "length_penalty_alpha": ("float32", 0.6),
}
# Values just outside of the bounds, and the error of the row.
BAD = [
    ("temperature", -0.5, "a finite value >= 0"),
    ("temperature", float("inf"), "a finite value >= 0"),
    ("top_k", -1, "an integer >= 0"),
    ("top_p", 0.0, "a value > 0 and <= 1"),
    ("top_p", 1.5, "a value > 0 and <= 1"),
    ("min_p", -0.1, "a value >= 0 and <= 1"),
    ("typical_p", 0.0, "a value > 0 and <= 1"),
    ("epsilon_cutoff", 1.0, "a value >= 0 and < 1"),
    ("eta_cutoff", float("nan"), "a value >= 0 and < 1"),
    ("repetition_penalty", 0.0, "a finite value > 0"),
    ("frequency_penalty", 2.5, "a value from -2 to 2"),
    ("presence_penalty", -2.5, "a value from -2 to 2"),
    ("no_repeat_ngram", -1, "an integer >= 0"),
    ("min_new_tokens", -1, "an integer >= 0"),
    ("max_new_tokens", 0, "an integer from 1 to 9"),
    ("max_new_tokens", 10, "an integer from 1 to 9"),
    ("min_length_ratio", 1.0, "0, there is no source"),
    ("loop_repeats", 1, "0 or an integer >= 2"),
    ("stop", "\x1f".join("a" * 17), "at most 16 strings of at most 256 bytes"),
    ("banned", "a" * 65, "at most 64 bytes"),
]


def test_inputs_are_as_promised():
    found = {row.name: (row.dtype, row.client_value) for row in (*PARAMETERS, *BEAM_PARAMETERS)}
    assert found == PROMISED
    assert {name: value for name, (_, value) in PROMISED.items()} == DEFAULTS


def test_the_configuration_has_a_field_for_each_row():
    fields = {entry.name: entry for entry in dataclasses.fields(DecodingConfig)}
    for row in (*PARAMETERS, *BEAM_PARAMETERS):
        assert fields[row.name].default == row.default


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
def test_the_error_of_a_row_names_its_bounds(name, value, expected):
    parameters = from_config(DecodingConfig(max_new_tokens=5), 2)
    dtype = getattr(DTYPES, name)
    good = getattr(parameters, name)[1]
    values = tf.stack([tf.constant(value, dtype), good])
    safe, error = sanitize(parameters._replace(**{name: values}), vocabulary_size=7, bound=9)
    bad, fine = (text.decode() for text in error.numpy())
    assert bad.startswith(f"invalid {name}: expected ") and bad.endswith(expected) and fine == ""
    assert safe.max_new_tokens.numpy().tolist() == [1, 5]
    assert safe.temperature.numpy().tolist() == [0.0, 1.0]


def test_neutral_values_switch_every_cutoff_off():
    logits = tf.random.stateless_normal([1, 50], seed=[1, 2]) * 5
    rows = from_config(DecodingConfig(top_k=1, min_p=0.9, typical_p=0.1, eta_cutoff=0.5), 1)
    off = neutral_where(tf.constant([True]), rows)
    for row in PARAMETERS:
        if row.cutoff:
            operation = getattr(cutoffs, row.cutoff.split(":")[1])
            found = operation(logits, getattr(off, row.name))
            assert (found.numpy() == logits.numpy()).all()


def test_the_table_imports_only_the_standard_library():
    code = (
        "import sys; import tf_textgen.decoding.parameter_table; "
        "print([name for name in ('tensorflow', 'numpy', 'absl', 'keras') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
