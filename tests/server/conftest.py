"""Exports, each written once, and servers of them: toys, which take no time, and a real one."""

import concurrent.futures
import contextlib
import os
from urllib.parse import urlsplit

import pytest

from tests.server import model_server
from tests.server.served import asking, export, serving
from tests.server.toy_export import toy_folder
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.export.versions import locked


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
    """`toy/1`, of which `tests.server.toy_export` knows what it says."""
    return toy_folder(tmp_path_factory, "toy")


@pytest.fixture(scope="session")
def pair_root(tmp_path_factory):
    """`pairs/1`, which maps sources and has a beam."""
    return toy_folder(tmp_path_factory, "pairs", beam=True)


@pytest.fixture(scope="session")
def real_root(tmp_path_factory):
    """The folder of a real export, with every signature there is; one process of the tests writes
    it for all.
    """
    folder = tmp_path_factory.getbasetemp()
    root = (
        (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "real" / "quickstart"
    )
    decoding = DecodingConfig(beam_width=2, num_best=2, max_new_tokens=12, seed=5)
    with locked(root.parent):
        if not (root / "1").exists():
            export(
                root, "transformer_lm", decoding, num_layers=1, max_positions=128, max_new_tokens=64
            )
    return root


@pytest.fixture(scope="package")
def local_server(real_root, tmp_path_factory):
    """`local_server(name)`: a local server that has the real export under that name,
    started once.
    """
    names = tmp_path_factory.mktemp("names")
    with contextlib.ExitStack() as opened:

        def start(name):
            (names / name).symlink_to(real_root)
            return opened.enter_context(serving(names / name))

        yield _once(start)


@pytest.fixture(scope="package", params=["local", model_server.NAME])
def address_of(request, real_root, tmp_path_factory):
    """`address_of(name)`: if a server answers over REST that has the real export under that
    name.
    """
    if request.param == "local":
        started = request.getfixturevalue("local_server")
        yield lambda name: urlsplit(started(name).url).netloc
        return
    executable = model_server.find()
    if executable is None:
        pytest.skip(f"no {model_server.NAME} on PATH, nor named by {model_server.VARIABLE}")
    logs = tmp_path_factory.mktemp("logs")
    with contextlib.ExitStack() as opened:

        def start(name):
            return opened.enter_context(
                model_server.running(executable, name, real_root, logs / name)
            ).rest

        yield _once(start)


def _once(start):
    """`start`, called once for each name; what it raised is raised again."""
    started = {}

    def get(name):
        if name not in started:
            started[name] = concurrent.futures.Future()
            try:
                started[name].set_result(start(name))
            except Exception as error:
                started[name].set_exception(error)
        return started[name].result()

    return get
