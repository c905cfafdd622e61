"""One export for all tests of this folder: each takes long to trace, to write and to check."""

from typing import NamedTuple

import pytest

from tests.support import tiny_models
from tf_textgen.compat import SavedModelSession
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.export import checking, self_check
from tf_textgen.export.exported import Exported
from tf_textgen.export.saved_model import export_saved_model
from tf_textgen.generator import TextGenerator

SAMPLED = DecodingConfig(temperature=1.0, top_k=20, max_new_tokens=12, seed=5)


class Export(NamedTuple):
    """A generator, its export loaded by Python, and by the session that checked it, as a server
    loads it.
    """

    generator: TextGenerator
    loaded: Exported
    served: SavedModelSession | None = None


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """Of a language model that samples.

    The check is made in this process, whose session the tests continue with: to make another takes
    as long again. Its graphs run as they were traced (see `graphs_as_written`). Fresh processes
    check the exports of `tests/jobs/export_test.py`.
    """
    generator, sessions = tiny_models.generator("transformer_lm", num_layers=1), []

    def session_of(path: str) -> SavedModelSession:
        sessions.append(SavedModelSession(path, optimize=False))
        return sessions[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_check, "SavedModelSession", session_of)
        patch.setattr(
            checking,
            "answer_in_fresh_process",
            lambda path, asked: self_check.check(str(path), asked),
        )
        path = export_saved_model(
            generator,
            tmp_path_factory.mktemp("sampled") / "model",
            decoding=SAMPLED,
            config={"model": "transformer_lm", "data": {"corpus": "cats | mats"}},
            record={"parameters": 12345, "validation.perplexity": 5.4321, "command": "train"},
        )
    (served,) = sessions
    return Export(generator, Exported(path), served)
