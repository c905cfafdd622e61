"""One export for all tests of this folder: each takes long to trace, to write and to check."""

import pytest

from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.export.exported import Exported
from tf_textgen.export.saved_model import export_saved_model

SAMPLED = DecodingConfig(temperature=1.0, top_k=20, max_new_tokens=12, seed=5)


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """A generator, and its export loaded."""
    generator = tiny_models.generator("transformer_lm")
    path = export_saved_model(
        generator,
        tmp_path_factory.mktemp("sampled") / "model",
        decoding=SAMPLED,
        config={"model": "transformer_lm", "data": {"corpus": "cats | mats"}},
        record={"parameters": 12345, "validation.perplexity": 5.4321, "command": "train"},
    )
    return generator, Exported(path)
