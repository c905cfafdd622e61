"""Exports that take no time, each written once, and a server of one."""

import pytest

from tests.serving.served import asking, serving
from tests.serving.toy_export import write_toy


@pytest.fixture(scope="module")
def server(toy_root):
    with serving(toy_root) as running:
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
