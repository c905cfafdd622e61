"""One export of a language model and one of an encoder-decoder with a beam, written once."""

import pytest

from tests.serving.served import asking, export, serving
from tf_textgen.decoding.decoding_config import DecodingConfig

SAMPLED = DecodingConfig(temperature=1.0, top_k=20, max_new_tokens=12, seed=5)
BEAM = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=6)


@pytest.fixture(scope="session")
def lm_export(tmp_path_factory):
    return export(tmp_path_factory.mktemp("lm") / "tales", "transformer_lm", SAMPLED).parent


@pytest.fixture(scope="session")
def pair_export(tmp_path_factory):
    return export(tmp_path_factory.mktemp("pair") / "pairs", "rnn_seq2seq", BEAM).parent


@pytest.fixture(scope="module")
def server(lm_export):
    with serving(lm_export) as running:
        yield running


@pytest.fixture
def client(server):
    with asking(server) as one:
        yield one
