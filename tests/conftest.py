"""Options of the whole suite, and what makes it fast."""

import gc

import pytest

# Tracing a graph makes many objects that stay: looking through them often finds nothing.
gc.set_threshold(100_000, 50, 100)
LONGEST = (
    "tests/system/",
    "tests/export/",
    "tests/compatibility/",
    "tests/jobs/",
    "tests/docs/",
    "tests/server/export_test.py",
    "tests/server/examples_test.py",
)
# Files whose tests use the same export or the same graphs, which take long to make: one process has
# them all.
TOGETHER = (
    ("tests/server/export_test.py", "tests/server/examples_test.py"),
    ("tests/conformance/decoding_test.py", "tests/conformance/precision_test.py"),
    ("tests/generator/",),
    ("tests/export/",),
    tuple(
        f"tests/jobs/{name}_test.py"
        for name in ("average", "evaluate", "generate", "score", "train")
    ),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist=loadfile`, but that what belongs together goes to one process."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return next((files[0] for files in TOGETHER if file.startswith(files)), file)

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_addoption(parser):
    parser.addoption(
        "--kills", type=int, default=None, help="kills of each run in tests/system (default: a few)"
    )
    parser.addoption("--kill_seed", type=int, default=0, help="seed of their moments")
    parser.addoption(
        "--thorough", action="store_true", help="also what is marked thorough, as .ci/run has it"
    )


def pytest_collection_modifyitems(config, items):
    """The long ones first, so that no process works on them alone at the end; the thorough ones by
    wish.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    if not config.getoption("--thorough"):
        left = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


@pytest.fixture(scope="session", autouse=True)
def graphs_as_written():
    """Graphs run as they were traced: TensorFlow's optimizers take longer with one than a test has
    use for it.

    They do their work in the processes that the tests of jobs and whole trainings start, and that
    check an export.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
