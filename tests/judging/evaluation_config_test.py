"""The metrics, flags and files of an evaluation."""

import pytest

from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.judging.evaluation_config import EvaluationConfig, without_files


def test_metrics_are_split_at_commas_and_each_is_computed_once():
    config = EvaluationConfig(metrics=("bleu, chrf", "likelihood,bleu", ""))
    assert config.metric_names == ["bleu", "chrf", "likelihood"]
    assert config.generation_metrics == ["bleu", "chrf"]


@pytest.mark.parametrize(
    ("name", "metrics", "users"),
    [
        ("stride", "bleu", "likelihood"),
        ("bleu_tokenizer", "likelihood,chrf", "bleu"),
        ("further_references", "distinct", "bleu, chrf, rouge"),
        ("limit", "likelihood", "bleu, chrf, rouge, distinct, memorization"),
        ("decoding.top_k", "likelihood", "bleu, chrf, rouge, distinct, memorization"),
    ],
)
def test_a_flag_without_effect_is_an_error(name, metrics, users):
    config = EvaluationConfig(metrics=(metrics,))
    with pytest.raises(UserError) as raised:
        config.check_used([name, "run.dir"])
    assert str(raised.value) == (
        f"--{name} with --metrics={metrics}: expected some of {users} too; add one, or leave "
        f"--{name} out"
    )
    EvaluationConfig(metrics=(users.partition(",")[0],)).check_used([name])


def test_files_are_the_split_test(tmp_path):
    (tmp_path / "a.txt").write_text("text\n")
    of_run = DataConfig(train=("train.txt",), valid=("valid.txt",), context=32)
    config = EvaluationConfig(file=(f"{tmp_path}/*.txt",))
    data = config.with_files(without_files(of_run))
    assert data == DataConfig(test=(str(tmp_path / "a.txt"),), context=32)
    assert config.evaluated_split == "test"
    assert EvaluationConfig(split="train").with_files(of_run) == of_run
    assert EvaluationConfig(split="train").evaluated_split == "train"


def test_a_metric_without_its_package_is_an_error(monkeypatch):
    EvaluationConfig(metrics=("bleu,chrf,rouge,distinct",)).check_packages()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    EvaluationConfig(metrics=("likelihood,distinct,memorization",)).check_packages()
    for metric, package in (("bleu", "sacrebleu"), ("chrf", "sacrebleu"), ("rouge", "rouge_score")):
        with pytest.raises(UserError) as caught:
            EvaluationConfig(metrics=("distinct", metric)).check_packages()
        assert str(caught.value) == (
            f"--metrics={metric} needs the package {package}, which is not installed; pip install "
            "'tf_textgen[metrics]'"
        )


def test_results_overwrite_neither_the_data_nor_a_folder(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("text\n")
    run = tmp_path / "run"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(path)
    for read in (str(path), f"{tmp_path}/*.txt", "~/a.txt", f"{tmp_path}/**/*.txt", "~/link"):
        with pytest.raises(UserError, match=r"--record=.*: this file is read and would be over"):
            EvaluationConfig(record=str(path)).check_kept(
                run, DataConfig(test=("gone",)), DataConfig(train=(read,))
            )
    for own in ("config.json", "checkpoints/step-1/manifest.json"):
        with pytest.raises(UserError, match=r"--output=.*: this file belongs to the run; choose"):
            EvaluationConfig(output=str(run / own)).check_kept(run)
    one_file = EvaluationConfig(record=f"{tmp_path}/b", output=f"{tmp_path}/run/../b")
    with pytest.raises(
        UserError, match=r"--record=.*b and --output are the same file: expected two"
    ):
        one_file.check_kept(run)
    data = DataConfig(train=(str(path),))
    EvaluationConfig(record=f"{path}.json", output=str(run / "texts.jsonl")).check_kept(run, data)
    with pytest.raises(UserError, match=f"--record={tmp_path}: is a folder; expected the name"):
        EvaluationConfig(record=str(tmp_path)).check_writable()
