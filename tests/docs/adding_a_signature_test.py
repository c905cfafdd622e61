"""The how-to: its two places, applied to a copy of the package, give a signature of an export."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding_a_signature.md"
CHECK = """
import pathlib

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.export.loaded_saved_model import LoadedSavedModel
from tf_textgen.export.prediction_log import REQUESTS_FILE, read_requests
from tf_textgen.export.saved_model import CARD_FILE, export_saved_model
from tf_textgen.generator import TextGenerator
from tf_textgen.generator.token_codec import TokenCodec
from tf_textgen.generator.token_counter import TokenCounter
from tf_textgen.models import family
from tf_textgen.text.bytes import ByteTokenizer

entry = family("transformer_lm")
tokenizer = ByteTokenizer()
shape = dict(num_layers=1, num_heads=1, width=8, max_positions=32)
model_config = entry.config_class(vocabulary_size=tokenizer.vocabulary_size, **shape)
model = entry.model_class()(model_config, seed=1).initialize()
generator = TextGenerator(model, tokenizer, max_new_tokens=8)
assert list(generator.signatures(DecodingConfig())) == [
    "serving_default", "generate", "generate_chunk", "score", "tokenize", "detokenize",
    "count_tokens", "embed",
]
# An export of two capabilities, since those of the model take long to trace. It is checked in a
# fresh process.
kinds = (TokenCodec, TokenCounter)
generator.capabilities = [one for one in generator.capabilities if isinstance(one, kinds)]
path = export_saved_model(generator, pathlib.Path("saved_models", "bytes"))
# The answer: these tokens are bytes of UTF-8.
answer = LoadedSavedModel(path).answer("count_tokens", {"text": ["cat", "", "猫"]})
assert answer == {"token_count": [3, 0, 3]}, answer
# The card and the warm-up requests.
card = (path / CARD_FILE).read_text("utf-8")
assert "- `count_tokens`\\n  - in: text string [?]\\n  - out: token_count int32 [?]" in card
assert "count_tokens" in [name for name, _ in read_requests(path / REQUESTS_FILE)]
print("ok")
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package with the two places of the how-to."""
    shutil.copytree(
        ROOT / "tf_textgen", tmp_path / "tf_textgen", ignore=shutil.ignore_patterns("__pycache__")
    )
    blocks = dict(re.findall(r"```python (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    assert blocks.keys() == {"token_counter.py", "import", "_capabilities"}
    folder = tmp_path / "tf_textgen" / "generator"
    (folder / "token_counter.py").write_text(blocks["token_counter.py"], "utf-8")
    text = (folder / "generator.py").read_text("utf-8")
    for line, block in (
        ("from tf_textgen.generator.token_codec import TokenCodec\n", blocks["import"]),
        ("            self.token_codec,\n", blocks["_capabilities"]),
    ):
        assert text.count(line) == 1
        text = text.replace(line, line + block)
    (folder / "generator.py").write_text(text, "utf-8")
    return tmp_path


def test_the_two_places_are_enough(package):
    found = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=package, capture_output=True, text=True, check=False
    )
    assert found.stdout == "ok\n", found.stderr[-3000:]
