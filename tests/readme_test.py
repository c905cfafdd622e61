"""What README shows is run, and the public names exist."""

import pathlib
import re

import pytest

import tf_textgen

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text("utf-8")


@pytest.mark.thorough
def test_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "saved_models" / "from_python" / "1" / "saved_model.pb").is_file()
    assert re.search(r"(eos|length)\n$", capsys.readouterr().out)


@pytest.mark.parametrize("name", tf_textgen.__all__)
def test_public_names_exist(name):
    assert getattr(tf_textgen, name) is not None


def test_flags_in_readme_exist():
    import importlib

    from absl import flags

    from tf_textgen.jobs import JOBS

    known = set()
    for path in JOBS.values():
        values = flags.FlagValues()
        importlib.import_module(path).define_flags(values)
        known |= set(values)
    shown = set(re.findall(r"--([a-z_0-9]+(?:\.[a-z_0-9]+)?)", README))
    shown -= {"flagfile", "helpshort", "logdir"}
    # Of tensorflow_model_server and docker.
    shown -= {
        "rest_api_port",
        "port",
        "model_name",
        "model_base_path",
        "model_config_file",
        "rest_api_timeout_in_ms",
    }
    shown -= {
        "enable_batching",
        "batching_parameters_file",
        "xla_cpu_compilation_enabled",
        "rm",
        "gpus",
    }
    assert shown and shown <= known
