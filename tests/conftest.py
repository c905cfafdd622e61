"""Options of the whole suite, and what makes it fast."""

import pytest

LONGEST = (
    "tests/system/",
    "tests/export/",
    "tests/jobs/",
    "tests/readme_test.py",
    "tests/serving/export_test.py",
    "tests/serving/readme_test.py",
)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=None, help="kills of each run in tests/system (default: a few)")
    parser.addoption("--kill_seed", type=int, default=0, help="seed of their moments")


def pytest_collection_modifyitems(items):
    """The long ones first, so that no process works on them alone at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def graphs_as_written():
    """Graphs run as they were traced: TensorFlow's optimizers take longer with one than a test has use for it.

    They do their work in the processes that the tests of exports, jobs and whole trainings start.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
