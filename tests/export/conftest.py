"""Exports for all tests of this folder: each takes long to trace, to write and to check."""

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
BEAM = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=6)
TEXTS = ["", "a", "从前有一个", "the cat sat on the mat " * 50, "naïve 🙂"]


class Export(NamedTuple):
    """An export and its generator.

    Attributes:
      generator: what was exported.
      loaded: the export, loaded by Python.
      served: the session that checked the export, which loads it as a server does.
    """

    generator: TextGenerator
    loaded: Exported
    served: SavedModelSession | None = None


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """The export of a language model that samples.

    The check is made in this process, and the tests go on with its session: another takes as long
    again. Its graphs run as they were traced (see `graphs_as_written`). Fresh processes check the
    exports of `tests/jobs/export_test.py`.
    """
    generator = tiny_models.generator("transformer_lm", num_layers=1)
    sessions = []

    def session_of(path: str) -> SavedModelSession:
        sessions.append(SavedModelSession(path, optimize=False))
        return sessions[-1]

    def check_here(path, requests):
        return self_check.check(str(path), requests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_check, "SavedModelSession", session_of)
        patch.setattr(checking, "answer_in_fresh_process", check_here)
        path = export_saved_model(
            generator,
            tmp_path_factory.mktemp("sampled") / "model",
            decoding=SAMPLED,
            config={"model": "transformer_lm", "data": {"corpus": "cats | mats"}},
            record={"parameters": 12345, "validation.perplexity": 5.4321, "command": "train"},
        )
    (served,) = sessions
    return Export(generator, Exported(path), served)


@pytest.fixture(scope="package")
def beam_export(tmp_path_factory):
    """The export of an encoder-decoder with a beam."""
    generator = tiny_models.generator("rnn_seq2seq", encoder_layers=1, decoder_layers=1)
    path = write_unchecked(generator, tmp_path_factory.mktemp("beam") / "model", BEAM)
    return Export(generator, Exported(path))


def write_unchecked(generator, folder, decoding):
    """An export without its check, which takes as long as all else: its tests compare it with its
    generator.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_textgen.export.saved_model.check_export", lambda *_: None)
        return export_saved_model(generator, folder, decoding=decoding)
