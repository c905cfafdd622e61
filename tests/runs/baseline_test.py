import copy
import json

import pytest

from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.runs import baseline
from tf_textgen.runs.baseline import describe_baseline
from tf_textgen.runs.recorded_config import RecordedConfig

FILES = {"valid": [[{"name": "a.txt", "size": 3, "sha256": "abc"}], []]}


def read_baseline(directory, config):
    return baseline.read_baseline(directory, RecordedConfig.from_json(config))


def _config(**data):
    return {
        "model": "ngram",
        "model_config": {"vocabulary_size": 9},
        "data": DataConfig(**{"valid": ("a.txt",), **data}).to_json(),
        "run": {"seed": 0, "precision": "float32"},
        "tokenizer_fingerprint": "t",
        "files": copy.deepcopy(FILES),
    }


def _write(folder, config, **record):
    (folder / "config.json").write_text(json.dumps(config))
    values = {
        "model": "ngram",
        "validation.nats_per_token": 2.0,
        "validation.bits_per_byte": 1.5,
        **record,
    }
    (folder / "run.json").write_text(json.dumps(values))
    return str(folder)


def test_the_same_data_and_tokenizer(tmp_path):
    """What the files are called and how they are cut into rows makes no difference."""
    here = _config(context=7, batching="packed", valid=("elsewhere/b.txt",))
    here["files"]["valid"][0][0]["name"] = "b.txt"
    found = read_baseline(_write(tmp_path, _config()), here)
    assert found == {"model": "ngram", "nats_per_token": 2.0, "bits_per_byte": 1.5}
    assert (
        describe_baseline(found) == "baseline ngram: validation 2.0000 nats/token, 1.500 bits/byte"
    )


def test_another_tokenizer_leaves_bits_a_byte(tmp_path):
    found = read_baseline(_write(tmp_path, _config()), {**_config(), "tokenizer_fingerprint": "u"})
    assert found == {"model": "ngram", "bits_per_byte": 1.5}
    assert describe_baseline(found) == "baseline ngram: validation 1.500 bits/byte"


PAIRS = {"format": "tsv"}
DIALOGUES = {"format": "dialogue"}


@pytest.mark.parametrize(
    "there, here, said",
    [
        ({}, {"documents": "line"}, "data.documents differs"),
        ({}, {"valid": ()}, "data.valid differs"),
        (
            {"valid": ()},
            {"valid": (), "validation_fraction": 0.1},
            "data.validation_fraction differs",
        ),
        (PAIRS, {**PAIRS, "max_target_tokens": 5}, "data.max_target_tokens differs"),
        (PAIRS, {**PAIRS, "target_column": 3}, "data.target_column differs"),
        ({**DIALOGUES, "reply_of": "second"}, DIALOGUES, "data.reply_of differs"),
        (DIALOGUES, {**DIALOGUES, "context_turns": 1}, "data.context_turns differs"),
        (DIALOGUES, {**DIALOGUES, "first_turn_column": 2}, "data.first_turn_column differs"),
        (PAIRS, {}, "data.format differs"),
    ],
)
def test_other_text_is_refused(tmp_path, there, here, said):
    with pytest.raises(
        UserError,
        match=f"was validated on other text: .*{said}; expected a run with the same valid",
    ):
        read_baseline(_write(tmp_path, _config(**there)), _config(**here))


def test_other_checksums_are_refused(tmp_path):
    here = _config()
    here["files"]["valid"][0][0]["sha256"] = "abd"
    with pytest.raises(UserError, match="a checksum of the files differs"):
        read_baseline(_write(tmp_path, _config()), here)


@pytest.mark.parametrize("side", ["", "source_"])
def test_pairs_of_another_tokenizer_are_refused(tmp_path, side):
    path, here = _write(tmp_path, _config(**PAIRS)), _config(**PAIRS)
    with pytest.raises(UserError, match="a tokenizer, on which over-long pairs depend, differs"):
        read_baseline(path, {**here, f"{side}tokenizer_fingerprint": "u"})
    # Two tokenizers that are the same one are no difference.
    assert "nats_per_token" in read_baseline(path, {**here, "source_tokenizer_fingerprint": "t"})


def test_a_run_that_has_no_validation_is_refused(tmp_path):
    path = _write(tmp_path, _config())
    with pytest.raises(
        UserError,
        match=r"this run has no validation data to compare on; give --data.valid or leave it",
    ):
        read_baseline(path, {**_config(), "files": {}})
    (tmp_path / "run.json").write_text(json.dumps({"model": "ngram"}))
    with pytest.raises(
        UserError, match=r"has no validation in its run.json: expected a finished run"
    ):
        read_baseline(path, _config())
    (tmp_path / "run.json").unlink()
    with pytest.raises(
        UserError, match=r"has no validation in its run.json: expected a finished run"
    ):
        read_baseline(path, _config())
    with pytest.raises(UserError, match="is no run folder"):
        read_baseline(str(tmp_path / "nowhere"), _config())
