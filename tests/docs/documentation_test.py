"""The documentation: its Python example runs, its links lead somewhere, and its flags exist."""

import importlib
import pathlib
import re

import pytest
from absl import flags

import tf_textgen
from tf_textgen.jobs import JOBS

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_README_LINES = 250
# Flags that every job has, that of the how-to, and those of TensorBoard, TF Serving and docker.
OTHER_FLAGS = {
    "flagfile",
    "debug",
    "decoding.top_n_sigma",
    "window_lm.window",
    "thorough",
    "helpshort",
    "logdir",
    "rest_api_port",
    "port",
    "rest_api_num_threads",
    "grpc_max_threads",
    "model_name",
    "model_base_path",
    "model_config_file",
    "rest_api_timeout_in_ms",
    "enable_batching",
    "batching_parameters_file",
    "xla_cpu_compilation_enabled",
    "rm",
    "gpus",
}


def names(path):
    return str(path.relative_to(ROOT))


@pytest.mark.thorough
def test_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    page = ROOT / "docs" / "python.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    exec(compile(code, page.name, "exec"), {})
    assert (tmp_path / "saved_models" / "from_python" / "1" / "saved_model.pb").is_file()
    assert re.search(r"(eos|length)\n$", capsys.readouterr().out)


@pytest.mark.parametrize("name", tf_textgen.__all__)
def test_public_names_exist(name):
    assert getattr(tf_textgen, name) is not None


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_flags_exist(page):
    known = set(OTHER_FLAGS)
    for path in JOBS.values():
        values = flags.FlagValues()
        importlib.import_module(path).define_flags(values)
        known |= set(values)
    shown = set(re.findall(r"(?<![\w-])--([a-z_0-9]+(?:\.[a-z_0-9]+)?)", page.read_text("utf-8")))
    assert shown <= known


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_readme_is_an_entrance():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MOST_README_LINES
