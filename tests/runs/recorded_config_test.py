"""`config.json` is typed when it is read, says its format and kind, and older files load."""

import json
import lzma
import pathlib
import tarfile

import pytest

from tests.support import tiny_models
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.runs.recorded_config import RecordedConfig, read_config, write_config

ARTIFACTS = pathlib.Path(__file__).parent.parent / "compatibility" / "artifacts.tar.xz"
KINDS = {
    "ngram": "counted",
    "rnn_lm": "trained",
    "rnn_seq2seq": "trained",
    "transformer_lm": "trained",
    "transformer_seq2seq": "trained",
    "transformer_seq2seq_mean": "average",
}
PARTS = {
    "model": "transformer_lm",
    "model_config": {"vocabulary_size": 9},
    "data": {"context": 16},
    "run": {"seed": 3, "precision": "float32"},
}


@pytest.fixture(scope="module")
def earlier():
    """The `config.json` of the runs of version 0.1.0, by name."""
    found = {}
    with lzma.open(ARTIFACTS) as file, tarfile.open(fileobj=file) as archive:
        for name in KINDS:
            found[name] = json.load(archive.extractfile(f"runs/{name}/config.json"))
    return found


@pytest.mark.parametrize("name", KINDS)
def test_files_of_the_first_version_load_and_keep_their_keys(earlier, name, tmp_path):
    before = earlier[name]
    (tmp_path / "config.json").write_text(json.dumps(before))
    config = read_config(tmp_path)
    assert config.kind == KINDS[name]
    assert config.data.context == before["data"]["context"]
    assert config.run.seed == before["run"]["seed"]
    assert list(config.averaged_steps) == before.get("averaged_steps", [])
    write_config(tmp_path, config)
    after = json.loads((tmp_path / "config.json").read_text())
    assert after["format_version"] == 1 and after["kind"] == KINDS[name]
    for part, values in before.items():
        if isinstance(values, dict):
            assert {key: after[part][key] for key in values} == values
        else:
            assert after[part] == values
    assert read_config(tmp_path) == config


def test_parts_that_are_not_recorded_have_their_defaults():
    config = RecordedConfig.from_json(PARTS)
    assert config.optimizer == OptimizerConfig()
    assert config.tokenizer.shared and config.source_tokenizer_fingerprint is None
    assert config.kind == "trained" and config.files == {}


def test_parts_without_a_meaning_are_left_out():
    content = RecordedConfig.from_json(PARTS).to_json()
    without = {"embedding", "source_tokenizer_fingerprint", "averaged_run", "averaged_steps"}
    assert without.isdisjoint(content)
    assert content["data"] == DataConfig(context=16).to_json()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"run": {"seed": 0, "precision": "float99"}}, "precision=float99"),
        ({"model_config": {"width": "wide"}}, "a configuration of 'transformer_lm' is damaged"),
        ({"data": {"unheard": 1}}, "unknown field 'data.unheard'"),
        ({"model": ["x"]}, "damaged"),
    ],
)
def test_wrong_values_are_named(tmp_path, part, said):
    (tmp_path / "config.json").write_text(json.dumps({**PARTS, **part}))
    with pytest.raises(UserError, match=r"config\.json is damaged \(") as raised:
        read_config(tmp_path)
    assert said in str(raised.value)


@pytest.mark.parametrize("newer", [{"format_version": 2}, {"kind": "mixture"}])
def test_a_file_of_a_later_version_says_so(tmp_path, newer):
    (tmp_path / "config.json").write_text(json.dumps({**PARTS, **newer}))
    with pytest.raises(UserError, match="install the version of tf_textgen that wrote the run"):
        read_config(tmp_path)


def test_a_part_that_is_given_keeps_its_values():
    model_config = tiny_models.model("rnn_lm", 50).config
    content = {**PARTS, "model": "rnn_lm", "model_config": model_config.to_json()}
    assert RecordedConfig.from_json(content).model_config == model_config
