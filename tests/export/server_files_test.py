"""The files for `tensorflow_model_server` next to the versions."""

import json

import pytest

from tf_textgen.export.server_files import folder_name, model_name, write_server_files


def test_server_files_are_written_once(tmp_path):
    root = tmp_path / 'a "b"'
    root.mkdir()
    write_server_files(root)
    models = (root / "models.config").read_text("utf-8")
    assert '    name: "a_b_"\n' in models
    assert f"base_path: {json.dumps(str(root))}\n" in models
    batching = root / "batching_parameters.txt"
    lines = batching.read_text().splitlines()
    assert "max_batch_size { value: 1024 }" in lines
    assert "enable_large_batch_splitting { value: true }" in lines
    assert "max_execution_batch_size { value: 32 }" in lines
    assert not any(line.startswith("num_batch_threads") for line in lines)
    batching.write_text("tuned")
    write_server_files(root)
    assert batching.read_text() == "tuned"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("saved_models/quickstart-2.1_b", "quickstart-2.1_b"),
        ("my run", "my_run"),
        ("a/b%20c:predict", "b_20c_predict"),
        ("Été", "Ete"),
        ("Re\u0301sume\u0301", "Resume"),
        ("春花 v2", "_v2"),
        ("春花", "model"),
    ],
)
def test_names_that_a_url_can_hold(folder, name):
    assert model_name(folder) == name


def test_a_folder_has_a_name_from_within(tmp_path, monkeypatch):
    inside = tmp_path / "my run" / "checkpoints"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert [folder_name(path) for path in (".", "..", "../", "../.")] == [
        "checkpoints",
        "my run",
        "my run",
        "my run",
    ]
    assert model_name("..") == "my_run"
