"""The files for `tensorflow_model_server` next to the versions."""

import json

from tf_textgen.export.server_files import write_server_files


def test_server_files_are_written_once(tmp_path):
    root = tmp_path / 'a "b"'
    root.mkdir()
    write_server_files(root)
    models = (root / "models.config").read_text("utf-8")
    assert f"name: {json.dumps(root.name)}\n" in models
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
