import json
import os
import subprocess
import sys

import pytest
from absl import flags

from tf_textgen.config import define_flags, from_flags, to_flags
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError


def test_import_of_the_configuration_does_not_import_tensorflow():
    code = "import sys, tf_textgen.data.data_config; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_flags_and_json_round_trip():
    values = flags.FlagValues()
    define_flags(DataConfig, values)
    config = DataConfig(
        train=("a.txt", "b,c.txt"), context=8, validation_fraction=0.0, cache_dir="/x"
    )
    values(["program", *to_flags(config)])
    assert from_flags(DataConfig, values) == config
    assert DataConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "cvs"}, r"--data.format=cvs: expected one of text, tsv, csv, pairs, parallel"),
        ({"reply_of": "third"}, r"--data.reply_of=third: expected one of both, first, second"),
        (
            {"tokenizing_processes": -1},
            r"--data.tokenizing_processes=-1: expected a value at least 0",
        ),
        ({"context_turns": 0}, r"--data.context_turns=0: expected a value at least 1"),
        ({"first_turn_column": 0}, r"--data.first_turn_column=0: expected a value at least 1"),
        (
            {"format": "dialogue", "batching": "packed"},
            r"--data.batching=packed with --data.format=dialogue",
        ),
        ({"source_column": 0}, r"--data.source_column=0: expected a value at least 1"),
        ({"validation_fraction": 1.0}, r"--data.validation_fraction=1"),
        (
            {"train_target": ("a",)},
            r"--data.train_target=a with --data.format=text: expected .*parallel",
        ),
        ({"format": "parallel", "train": ("a",)}, r"--data.train without --data.train_target"),
        ({"format": "parallel", "test_target": ("a",)}, r"--data.test_target without --data.test"),
        ({"format": "tsv", "batching": "packed"}, r"--data.batching=packed with --data.format=tsv"),
        (
            {"carry_state": True, "batching": "packed"},
            r"--data.carry_state with --data.batching=packed: expected text",
        ),
        (
            {"carry_state": True, "format": "tsv"},
            r"--data.carry_state with --data.format=tsv: expected text",
        ),
    ],
)
def test_bad_values_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        DataConfig(**fields)


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert DataConfig().cache_folder() == "/cache/tf_textgen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert DataConfig().cache_folder() == os.path.expanduser("~/.cache/tf_textgen")
    assert DataConfig(cache_dir="/mine").cache_folder() == "/mine"
