"""What version 0.1.0 made still works: its recipes, runs, exports and `.keras` files.

`write_artifacts.py` made the archive with that version, and wrote down what it answers. Answers
may have more fields than before, never fewer or others.
"""

import json
import math
import pathlib
import shutil
import tarfile

import pytest

from tests.compatibility import asking
from tests.support.thorough import cases

HERE = pathlib.Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text("utf-8"))
# The model of which the default suite tests more than that its run can be loaded.
ALWAYS = "transformer_lm"
TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The archive's content, which no test changes."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(HERE / "artifacts.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def artifacts(unpacked, monkeypatch):
    """`unpacked` as the working directory, since all paths in recipes and runs are relative."""
    monkeypatch.chdir(unpacked)
    return unpacked


@pytest.fixture
def copied(unpacked, tmp_path, monkeypatch):
    """A copy of all but models and exports, for jobs that write."""
    for name in ("recipes", "corpus", "tokenizers", "runs"):
        shutil.copytree(unpacked / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_same(found, expected, tolerance=TOLERANCE, where="answer"):
    """Compares values of JSON; numbers with a fraction within a tolerance."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and expected.keys() <= found.keys(), (where, found)
        for name, value in expected.items():
            assert_same(found[name], value, tolerance, f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), (where, found)
        for place, value in enumerate(expected):
            assert_same(found[place], value, tolerance, f"{where}[{place}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance), (
            f"{where} is {found}, was {expected}"
        )
    else:
        assert found == expected, f"{where} is {found!r}, was {expected!r}"


def assert_answers(asked):
    for one in asked:
        command = " ".join(one["arguments"])
        assert_same(asking.plain(asking.answer(one["arguments"])), one["answer"], where=command)


@pytest.mark.parametrize("job", EXPECTED["flags"])
def test_flags_are_known(job):
    """Each flag by its old name, with its default or, without one, a value of its type."""
    asking.run([job, *EXPECTED["flags"][job], "--helpshort"])


@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_recipe_is_read(artifacts, name):
    """As it was given, and as the run wrote it down."""
    folder = artifacts / "runs" / name
    recipes = [path for path in (artifacts / "recipes").glob("*.flags") if path.stem == name]
    for path in (folder / "recipe.flags", *recipes):
        asking.run(["train", f"--flagfile={path}", "--helpshort"])
    if name in EXPECTED["recipes"]:
        assert_answers([EXPECTED["recipes"][name]])


@pytest.mark.thorough
@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_run_answers(artifacts, name):
    """Continuations, scores, and validation figures."""
    assert_answers(EXPECTED["runs"][name])


@pytest.mark.parametrize("name", EXPECTED["runs"])
def test_run_is_loaded(artifacts, name):
    """The part of `test_run_answers` that takes least time."""
    (one,) = [one for one in EXPECTED["runs"][name] if "--per_token" in one["arguments"]]
    assert_answers([one])


@pytest.mark.parametrize("job", ["generate", "evaluate", "describe"])
def test_job_answers(artifacts, job):
    """The last request of `test_run_answers` to each job, which sets most flags, of one run."""
    asked = [one for one in EXPECTED["runs"][ALWAYS] if one["arguments"][0] == job]
    assert_answers(asked[-1:])


@pytest.mark.thorough
@pytest.mark.parametrize("name", cases(EXPECTED["continued"], always=[ALWAYS]))
def test_training_goes_on(copied, name):
    one = EXPECTED["continued"][name]
    asking.run(one["job"])
    assert_answers([one["then"]])


@pytest.mark.thorough
def test_checkpoints_are_averaged(copied):
    one = EXPECTED["averaged"]
    asking.run(one["job"])
    assert_answers([one["then"]])


@pytest.mark.parametrize("name", EXPECTED["keras"])
def test_keras_file_gives_the_same_logits(artifacts, name):
    one = EXPECTED["keras"][name]
    found = asking.keras_answer(artifacts / "models" / f"{name}.keras", one["features"])
    assert_same(found, one["answer"], LOGIT_TOLERANCE)


@pytest.mark.thorough
@pytest.mark.parametrize("name", EXPECTED["exports"])
def test_export_answers(artifacts, name):
    assert_answers(EXPECTED["exports"][name]["jobs"])


def test_export_is_loaded(artifacts):
    """The part of `test_export_answers` that sets most flags, of one export."""
    assert_answers(EXPECTED["exports"][ALWAYS]["jobs"][-1:])


@pytest.mark.thorough
@pytest.mark.parametrize("name", EXPECTED["exports"])
def test_export_is_served(artifacts, name):
    """By the local server to the client."""
    asked = EXPECTED["exports"][name]["requests"]
    with asking.serving(artifacts / "saved_models" / name) as url:
        found = asking.ask(url, name, asked)
    for one, answer in zip(asked, found, strict=True):
        assert_same(answer, one["answer"], where=f"{name}: {one['method']}")
