"""The package as it is installed and as type checkers see it."""

import ast
import configparser
import contextlib
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

import tf_textgen
from tf_textgen.errors import job_command

ROOT = pathlib.Path(__file__).parents[1]


def declared_names() -> dict[str, str]:
    """Public name -> module, as declared for type checkers."""
    tree = ast.parse((ROOT / "tf_textgen" / "__init__.py").read_text("utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    names = {}
    for statement in block.body:
        for alias in statement.names:
            assert alias.name == alias.asname, "without `as` it is not public"
            names[alias.name] = statement.module
    return names


def test_type_checkers_see_the_names_that_exist_at_run_time():
    assert declared_names() == tf_textgen._MODULES
    assert sorted(tf_textgen.__all__) == sorted([*declared_names(), "__version__"])


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tf_textgen' has no attribute 'TextGen'"):
        _ = tf_textgen.TextGen


def test_import_is_lazy():
    code = "import sys, tf_textgen; dir(tf_textgen); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.thorough
def test_mypy_sees_the_public_names(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "import tf_textgen as tt\n"
        'text: int = tt.Client("http://localhost:8501", "model")\n'
        "tt.TextGen\n"
        "tt.DecodingConfig(temperature='hot')\n"
        "tt.load_run(1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg"), "--strict"]
    done = subprocess.run(
        [*command, str(program)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    found = [line.split(": ", 2)[2] for line in done.stdout.splitlines() if ": error: " in line]
    assert [message.rpartition("[")[2] for message in found] == [
        "assignment]",
        "attr-defined]",
        "arg-type]",
        "arg-type]",
    ]
    assert '"TextGen"' in found[1] and '"load_run"' in found[3]


def test_the_version_has_one_source():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert settings["metadata"]["version"] == "attr: tf_textgen.__version__"
    assert settings["options.package_data"]["tf_textgen"] == "py.typed"
    assert (ROOT / "tf_textgen" / "py.typed").is_file()
    # A checkout that runs without an installation has no metadata.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert importlib.metadata.version("tf_textgen") == tf_textgen.__version__


@pytest.mark.parametrize(
    ("started_as", "shown"),
    [
        ("/usr/bin/tf-textgen", "tf-textgen train"),
        ("C:/Scripts/tf-textgen.exe", "tf-textgen train"),
        ("/site-packages/tf_textgen/__main__.py", "python -m tf_textgen train"),
        ("-c", "python -m tf_textgen train"),
    ],
)
def test_messages_name_the_command_that_was_used(monkeypatch, started_as, shown):
    monkeypatch.setattr(sys, "argv", [started_as])
    assert job_command("train") == shown
