"""Fixtures of a fake server: `running`, with its address, and `serving`, the server as new."""

import pytest

from tests.support import fake_texts
from tests.support.fake_serving import FakeServing

__all__ = ["running", "serving"]


@pytest.fixture(scope="module")
def running():
    """A server and its address."""
    serving = FakeServing(fake_texts.answer, fake_texts.signatures())
    with serving.running() as address:
        yield serving, address


@pytest.fixture
def serving(running):
    """The server as new."""
    serving, _ = running
    serving.answer, serving.signatures = fake_texts.answer, fake_texts.signatures()
    serving.states = {1: "AVAILABLE"}
    serving.most_rows = None
    serving.faults.clear()
    serving.requests.clear()
    return serving
