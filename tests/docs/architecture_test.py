"""The architecture: every name of the documented call chains is in the code, and the floors are
those of the test.
"""

import functools
import importlib
import pathlib
import re

import pytest

from tests.floors_test import FLOORS

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")
NAMES = sorted(set(re.findall(r"`(tf_textgen[\w.]*):([\w.]+)`", TEXT)))
MOST_STEPS = 10


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda value: value)
def test_the_names_of_the_steps_exist(module, name):
    assert functools.reduce(getattr, name.split("."), importlib.import_module(module))


def test_there_are_few_steps():
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", TEXT, re.MULTILINE)]
    assert numbers == [*range(1, MOST_STEPS + 1)] * 2


def test_the_packages_are_on_the_floors_of_the_test():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", TEXT, re.MULTILINE)
    shown = {int(floor): set(re.findall(r"`(\w+)`", packages)) for floor, packages in rows}
    assert shown == {floor: set(FLOORS[floor]) for floor in shown}
    assert len(shown) == len(FLOORS) - 2
