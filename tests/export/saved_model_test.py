"""The folder of an export: what is written, and that a failure leaves nothing."""

import json
import pathlib
import re

import pytest
import tensorflow as tf

from tests.export.conftest import SAMPLED
from tf_textgen.errors import UserError
from tf_textgen.export.saved_model import export_saved_model


def test_versions_are_numbered_and_never_overwritten(exported, monkeypatch):
    generator = exported.generator
    path = exported.loaded.path
    root = path.parent
    assert path.name == "1"
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UserError, match=r"--export.version=1: .* exists already"):
        export_saved_model(generator, root, version=1)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    # The folder's name is the model's, also of the current folder.
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match=f"{re.escape(str(path.resolve()))} exists already"):
        export_saved_model(generator, ".", version=1)
    names = sorted(entry.name for entry in root.iterdir())
    assert names == ["1", "batching_parameters.txt", "models.config"]


def test_the_config_is_written(exported):
    config = json.loads((exported.loaded.path / "assets.extra" / "config.json").read_text())
    assert config["decoding"] == SAMPLED.to_json()


def test_exports_record_the_end_that_long_texts_lose(exported, beam_export):
    assert exported.loaded.config["truncation_side"] == "beginning"
    assert beam_export.loaded.config["truncation_side"] == "end"


def test_one_trace_of_a_signature_takes_any_batch(exported):
    saved_model = exported.loaded.saved_model
    for name in saved_model.signatures:
        for spec in saved_model.inputs(name).values():
            assert spec.shape.as_list() == [None], name
    nothing = tf.constant([], tf.string)
    assert saved_model.run("serving_default", {"text": nothing})["text"].shape == (0,)


@pytest.mark.parametrize(
    ("foreign_ops", "problem"),
    [
        (["EagerPyFunc"], r"ops that TF Serving does not have \(EagerPyFunc\)"),
        ([], "gives 'other' as text of serving_default for"),
    ],
)
def test_a_failed_check_publishes_nothing(exported, tmp_path, monkeypatch, foreign_ops, problem):
    answers = [{"text": ["other"] * 5}] * 9
    found = {"foreign_ops": foreign_ops, "answers": answers, "warm_up": 0}
    monkeypatch.setattr("tf_textgen.export.checking.answer_in_fresh_process", lambda *_: found)
    replace_save(monkeypatch, lambda path: path.mkdir())
    with pytest.raises(UserError, match=problem + ".*: nothing was published"):
        export_saved_model(exported.generator, tmp_path / "model", prompts=["a"] * 5)
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "x; full"),
    ],
)
def test_a_full_disk_is_reported_and_leaves_nothing(error, exported, tmp_path, monkeypatch):
    def fail(path):
        path.mkdir()
        raise error

    replace_save(monkeypatch, fail)
    message = r"--export.dir=.*: cannot write the export: (No space left on device|full); choose"
    with pytest.raises(UserError, match=message):
        export_saved_model(exported.generator, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def replace_save(monkeypatch, save):
    """Lets `save` take the path instead of TensorFlow."""
    monkeypatch.setattr(
        "tensorflow.saved_model.save", lambda _, path, **__: save(pathlib.Path(path))
    )


def test_a_folder_that_cannot_be_made_is_reported(exported, tmp_path):
    (tmp_path / "file").write_text("")
    message = r"--export.dir=.*: cannot write the export: Not a directory; choose another folder"
    with pytest.raises(UserError, match=message):
        export_saved_model(exported.generator, tmp_path / "file" / "model")
