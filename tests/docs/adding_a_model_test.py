"""The how-to: its files, line and row, applied to a copy of the package, are a family that passes
the conformance tests.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding_a_model.md"
FILES = ["window_lm_config.py", "window_lm.py", "window_lm_costs.py"]
IMPORT = "from tf_textgen.models.window_lm_config import WindowLMConfig\n"
COSTS = """
from tf_textgen.models import family
from tf_textgen.models.costs import costs

entry = family("window_lm")
config = entry.config_class(vocabulary_size=50, window=3, embedding_width=4, width=6)
model = entry.model_class()(config, seed=1).initialize()
found = costs(config, source_tokens=0, target_tokens=9)
assert found.parameters == model.count_params() == 50 * 4 + (12 * 6 + 6) + (6 * 50 + 50)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the package and its tests with what the how-to adds."""
    folder = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", "*.tar.xz")
    for name in ("tf_textgen", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "setup.cfg", folder)
    blocks = dict(re.findall(r"```python (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    assert blocks.keys() == {*FILES, "MODELS", "CASES"}
    models = folder / "tf_textgen" / "models"
    for name in FILES:
        (models / name).write_text(blocks[name], "utf-8")
    insert(models / "__init__.py", "MODELS = {\n", blocks["MODELS"])
    insert(models / "__init__.py", "\nclass Family", IMPORT, before=True)
    insert(folder / "tests" / "conformance" / "cases.py", "    for case in (\n", blocks["CASES"])
    return folder


def insert(path, place, text, before=False):
    content = path.read_text("utf-8")
    assert content.count(place) == 1
    new = text + place if before else place + text
    path.write_text(content.replace(place, new), "utf-8")


def run(project, *command):
    done = subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.mark.thorough
def test_the_family_is_known_and_its_costs_are_those_of_its_weights(project):
    run(project, "-c", COSTS)


@pytest.mark.thorough
def test_the_family_passes_the_conformance_tests(project):
    asked = ["-m", "pytest", "-v", "-p", "no:cacheprovider", "tests/conformance", "--thorough"]
    output = run(project, *asked, "-k", "window_lm or every_family")
    passed = int(re.findall(r"(\d+) passed", output)[-1])
    assert passed > 10
