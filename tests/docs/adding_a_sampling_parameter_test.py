"""The how-to: its two places, applied to a copy of the package, give a flag, an input, a check and
an effect.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding_a_sampling_parameter.md"
CHECK = """
import numpy as np
import tensorflow as tf
from absl import flags

from tf_textgen.client.inputs import DEFAULTS
from tf_textgen.config import define_flags, from_flags
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.logits import narrow
from tf_textgen.decoding.parameters import from_config, sanitize
from tf_textgen.generator import TextGenerator
from tf_textgen.models import family
from tf_textgen.text.bytes import ByteTokenizer

# The flag.
values = flags.FlagValues()
define_flags(DecodingConfig, values)
values(["job", "--decoding.top_n_sigma=1"])
config = from_flags(DecodingConfig, values)
assert config.top_n_sigma == 1.0
# The effect, compared with NumPy.
logits = np.random.default_rng(0).normal(0.0, 3.0, [4, 50]).astype(np.float32)
found = narrow(tf.constant(logits), from_config(config, 4)).numpy()
border = logits.max(axis=-1) - logits.astype(np.float64).std(axis=-1)
kept = logits >= border[:, None]
assert 0 < kept.sum() < kept.size
np.testing.assert_array_equal(found, np.where(kept, logits, -np.inf))
unchanged = narrow(tf.constant(logits), from_config(DecodingConfig(), 4)).numpy()
np.testing.assert_array_equal(unchanged, logits)
# The check of a request, and the default of the client.
parameters = from_config(config, 1)._replace(top_n_sigma=tf.constant([-1.0]))
_, error = sanitize(parameters, 50, 128)
assert error.numpy()[0] == b"invalid top_n_sigma: expected a finite value >= 0"
assert DEFAULTS["top_n_sigma"] == 0.0
# The input of the signatures.
entry = family("transformer_lm")
tokenizer = ByteTokenizer()
shape = dict(num_layers=1, num_heads=1, width=8, max_positions=32)
model_config = entry.config_class(vocabulary_size=tokenizer.vocabulary_size, **shape)
model = entry.model_class()(model_config, seed=1).initialize()
generator = TextGenerator(model, tokenizer, prompt_format="continuation", max_new_tokens=8)
inputs = generator.generate_graph.function_spec.input_signature[1]
assert inputs.top_n_sigma.dtype == tf.float32
narrowed = generator.generate(["a"], DecodingConfig(top_n_sigma=1e-9, max_new_tokens=8))
greedy = generator.generate(["a"], DecodingConfig(temperature=0.0, max_new_tokens=8))
assert narrowed[0].text == greedy[0].text
print("ok")
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package with the two places of the how-to."""
    shutil.copytree(
        ROOT / "tf_textgen", tmp_path / "tf_textgen", ignore=shutil.ignore_patterns("__pycache__")
    )
    blocks = dict(re.findall(r"```python (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    assert blocks.keys() == {"cutoffs.py", "parameter_table.py"}
    cutoffs = tmp_path / "tf_textgen" / "decoding" / "cutoffs.py"
    cutoffs.write_text(cutoffs.read_text("utf-8") + "\n\n" + blocks["cutoffs.py"], "utf-8")
    table = tmp_path / "tf_textgen" / "decoding" / "parameter_table.py"
    before, end, after = table.read_text("utf-8").partition(
        "\n\n\n@dataclasses.dataclass(frozen=True, kw_only=True)\nclass BeamParameters"
    )
    assert end
    table.write_text(f"{before}\n{blocks['parameter_table.py']}{end}{after}", "utf-8")
    return tmp_path


@pytest.mark.thorough
def test_the_two_places_are_enough(package):
    found = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=package, capture_output=True, text=True, check=False
    )
    assert found.stdout == "ok\n", found.stderr[-3000:]
