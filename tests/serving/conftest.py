"""One export of a language model, and some that take no time."""

import pytest

from tests.serving.served import asking, export, serving
from tests.serving.toy_export import write_toy
from tf_textgen.decoding.decoding_config import DecodingConfig

SAMPLED = DecodingConfig(temperature=1.0, top_k=20, max_new_tokens=12, seed=5)


@pytest.fixture(scope="session")
def lm_export(tmp_path_factory):
    return export(tmp_path_factory.mktemp("lm") / "tales", "transformer_lm", SAMPLED, num_layers=1).parent


@pytest.fixture(scope="module")
def server(lm_export):
    with serving(lm_export) as running:
        yield running


@pytest.fixture
def client(server):
    with asking(server) as one:
        yield one


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """`toy/1`, of which `tests.serving.toy_export` knows what it says."""
    root = tmp_path_factory.mktemp("toys") / "toy"
    root.mkdir()
    write_toy(root, 1)
    return root


@pytest.fixture(scope="session")
def pair_root(tmp_path_factory):
    """`pairs/1`, which maps sources and has a beam."""
    root = tmp_path_factory.mktemp("toys") / "pairs"
    root.mkdir()
    write_toy(root, 1, beam=True)
    return root
