"""Locking, the comparison of runs, and the files that describe a run."""

import dataclasses
import json
import subprocess
import sys

import pytest

from tests.support.run_folders import write_run
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.runs.recorded_config import PARTS as CONFIG_PARTS
from tf_textgen.runs.recorded_config import RecordedConfig, read_config
from tf_textgen.runs.run_folder import RunFolder, load_run
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.text.tokenizer_config import TokenizerConfig

CONFIG = {
    "model": "transformer_lm",
    "model_config": {"vocabulary_size": 9, "num_layers": 2, "width": 8, "num_heads": 2},
    "tokenizer": {"kind": "bytes"},
    "tokenizer_fingerprint": "abc",
    "files": {"train": [[{"name": "a.txt", "sha256": "1"}]]},
    "data": {"context": 16, "train": ["a.txt"]},
    "optimizer": {"name": "adamw"},
    "run": {"seed": 1, "steps": 10, "precision": "float32"},
    "decoding": {"temperature": 1.0},
}


def started(path):
    with RunFolder(path) as folder:
        folder.write_recipe(["--model=transformer_lm"])
        folder.write_config(RecordedConfig.from_json(CONFIG))
        (folder.checkpoints / "step-00000001").mkdir(parents=True)
    return path


def changed(part, **fields):
    return {**CONFIG, part: {**CONFIG[part], **fields}}


def test_a_field_added_later_has_its_default_in_a_run_recorded_before(tmp_path):
    started(tmp_path)
    with RunFolder(tmp_path) as folder:
        folder.check_same_run(changed("data", carry_state=False, batching="windows"))
        folder.check_same_run(changed("model_config", positions="learned"))
        with pytest.raises(
            UserError, match=r"holds another run: data\.carry_state is false there, true here"
        ):
            folder.check_same_run(changed("data", carry_state=True))


def test_a_folder_in_use_is_refused_and_free_again_after(tmp_path):
    with (
        RunFolder(tmp_path / "run") as folder,
        pytest.raises(
            UserError,
            match=r"run folder in use: process \d+ on .* trains in .*choose another --run.dir",
        ),
    ):
        RunFolder(folder.path).__enter__()
    with RunFolder(tmp_path / "run"):
        pass


def test_the_lock_dies_with_its_process(tmp_path):
    code = f"import os, sys; sys.path.insert(0, {sys.path[0]!r})\n"
    code += f"from tf_textgen.runs.run_folder import RunFolder\nRunFolder({str(tmp_path)!r}).__enter__()\n"
    code += "print('locked', flush=True); os.kill(os.getpid(), 9)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout == "locked\n" and child.returncode == -9
    with RunFolder(tmp_path):
        pass


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(
        UserError, match=r"has checkpoints but no recipe.flags: expected a new folder"
    ):
        RunFolder(tmp_path).__enter__()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--run.dir=.*file/run: Not a directory"):
        RunFolder(tmp_path / "file" / "run").__enter__()


def test_the_recipe_is_a_flagfile(tmp_path):
    started(tmp_path)
    lines = (tmp_path / "recipe.flags").read_text().splitlines()
    assert lines[0].startswith("# python -m tf_textgen train --flagfile=") and lines[1:] == [
        "--model=transformer_lm"
    ]


@pytest.mark.parametrize(
    "config, said",
    [
        (
            {**CONFIG, "model": "rnn_seq2seq"},
            'model is "transformer_lm" there, "rnn_seq2seq" here;',
        ),
        (
            changed("model_config", num_layers=3, width=9),
            "transformer_lm.num_layers is 2 there, 3 here; transformer_lm.width is 8 there",
        ),
        (changed("tokenizer", kind="words"), 'tokenizer.kind is "bytes" there, "words" here'),
        (
            {**CONFIG, "tokenizer_fingerprint": "x"},
            'tokenizer_fingerprint is "abc" there, "x" here',
        ),
        (changed("data", context=32), "data.context is 16 there, 32 here"),
        (changed("data", context_turns=2), "data.context_turns is 4 there, 2 here"),
        (changed("tokenizer", shared=False), "tokenizer.shared is true there, false here"),
        (changed("files", train=[]), "files.train is "),
        (changed("optimizer", name="sgd"), 'optimizer.name is "adamw" there, "sgd" here'),
        (changed("run", seed=2), "run.seed is 1 there, 2 here"),
        (changed("run", precision="mixed_bfloat16"), "run.precision is"),
    ],
)
def test_another_run_is_refused_by_the_fields_that_differ(tmp_path, config, said):
    with RunFolder(started(tmp_path)) as folder, pytest.raises(UserError) as caught:
        folder.check_same_run(config)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert "only budget and logging may change" in str(caught.value)


def test_of_long_values_that_differ_late_both_are_shown_there(tmp_path):
    files = [
        {"name": f"shard-{i:05d}-of-00003.txt", "size": 1000, "sha256": f"{i}" * 64}
        for i in range(3)
    ]
    with RunFolder(tmp_path) as folder:
        folder.write_recipe([])
        folder.write_config(RecordedConfig.from_json({**CONFIG, "files": {"train": [files]}}))
        (folder.checkpoints / "step-00000001").mkdir(parents=True)
        other = [*files[:2], {**files[2], "sha256": "a" * 64}]
        said = (
            r'train is \.\.\..*"sha256": "2{15,}\.\.\. there, \.\.\..*"sha256": "a{15,}\.\.\. here;'
        )
        with pytest.raises(UserError, match=said):
            folder.check_same_run({"files": {"train": [other]}})


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        # Fields that came later mean their defaults to an older run.
        {**CONFIG, "tokenizer": TokenizerConfig(kind="bytes").to_json()},
        {**CONFIG, "data": DataConfig(context=16, train=("a.txt",)).to_json()},
        changed("run", steps=99, minutes=3.0, log_every=1, dir="elsewhere"),
        changed("data", train=["moved/a.txt"], cache_dir="/other", tokenizing_processes=3),
        changed("decoding", temperature=0.5),
    ],
)
def test_budget_logging_and_places_may_change(tmp_path, config):
    with RunFolder(started(tmp_path)) as folder:
        folder.check_same_run(config)


def test_a_folder_without_a_checkpoint_takes_any_run(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.write_recipe([])
        folder.write_config(RecordedConfig.from_json(CONFIG))
        folder.check_same_run(changed("optimizer", name="sgd"))


def test_what_is_no_run_folder_cannot_be_loaded(tmp_path):
    with pytest.raises(
        UserError, match=r"nowhere is no run folder .*expected the --run.dir of a training"
    ):
        load_run(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json is damaged"):
        read_config(tmp_path)


def test_records_survive(tmp_path):
    with RunFolder(tmp_path) as folder:
        assert folder.record() is None
        folder.write_record({"validation.nats_per_token": 1.5})
        assert (
            folder.record()
            == json.loads((tmp_path / "run.json").read_text())
            == {"validation.nats_per_token": 1.5}
        )


PARTS = {
    "model": "transformer_lm",
    "model_config": {"vocabulary_size": 9},
    "data": {},
    "run": {"seed": 0, "precision": "float32"},
}
WRONG = (
    {"decoding": [1]},
    {"run": [0]},
    {"tokenizer": None},
    {"embedding": []},
    {"data": 1},
    {"model": "x"},
)
DAMAGED = [json.dumps({**PARTS, **part}) for part in WRONG]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"model": "transformer_lm"}', "null", *DAMAGED]
)
def test_a_damaged_configuration_is_told(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(
        UserError,
        match=r"config.json is damaged \(.*expected JSON as train wrote it; put the file back",
    ):
        read_config(tmp_path)


def test_a_configuration_that_makes_no_model_is_told(tmp_path):
    data = DataConfig(cache_dir=str(tmp_path / "cache"))
    run = write_run(tmp_path / "run", "transformer_lm", ByteTokenizer(), data, num_layers=1)
    whole = json.loads((run / "config.json").read_text())
    damaged = r"config.json is damaged \(.*expected JSON as train wrote it; put the file back or train again"
    for part, wrong, message in (
        ("run", {"precision": "float99"}, damaged),
        ("model_config", {"width": "wide"}, "a configuration of 'transformer_lm' is damaged"),
    ):
        (run / "config.json").write_text(json.dumps({**whole, part: {**whole[part], **wrong}}))
        with pytest.raises(UserError, match=message):
            load_run(run)
    (run / "config.json").write_text(json.dumps(whole))
    assert load_run(run).step == 1


def test_a_damaged_record_is_none(tmp_path):
    for content in ("{", "[]"):
        (tmp_path / "run.json").write_text(content)
        assert RunFolder(tmp_path).record() is None


def test_a_run_without_its_seed_is_damaged(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**PARTS, "run": {"precision": "float32"}}))
    with pytest.raises(
        UserError,
        match=r"config.json is damaged \(run has no seed\): expected JSON as train wrote it",
    ):
        read_config(tmp_path)


def test_fields_that_may_change_or_differ_between_workers_are_declared():
    """The promise of resuming: what is not in these lists is refused."""
    may_change = {
        "run": {
            "baseline", "checkpoint_every", "dir", "early_stopping_validations", "epochs",
            "keep_checkpoints", "log_every", "logical_cpus", "micro_batches", "minutes",
            "sample_prompt", "sample_tokens", "samples", "steps", "strategy", "validate_every",
            "xla",
        },
        "data": {
            "cache_dir", "corpus", "test", "test_target", "tokenizing_processes", "train",
            "train_target", "valid", "valid_target",
        },
        "embedding": {"file"},
        "optimizer": {"warmup_steps"},
        "tokenizer": set(),
        "decoding": set(),
    }  # fmt: skip
    per_worker = {
        "optimizer": set(),
        "tokenizer": set(),
        "decoding": set(),
        "run": {
            "baseline", "dir", "keep_checkpoints", "log_every", "sample_prompt", "sample_tokens",
            "samples",
        },
        "data": may_change["data"],
        "embedding": {"file"},
    }  # fmt: skip
    for kind, expected in (("may_change", may_change), ("per_worker", per_worker)):
        found = {
            part: {e.name for e in dataclasses.fields(config) if e.metadata[kind]}
            for part, config in CONFIG_PARTS.items()
        }
        assert found == expected
