"""Files that a job reads, that belong to a run or that a user made are not replaced."""

import os

import pytest

from tests.support.data_files import write
from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.jobs import main
from tf_textgen.runs.checkpoint_folder import CheckpointFolder
from tf_textgen.runs.kept_files import (
    RECIPE_HEADING,
    check_not_read,
    check_outside_runs,
    check_reads_outside,
    data_files,
)
from tf_textgen.runs.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    write(folder / "recipe.flags", f"{RECIPE_HEADING}--flagfile=x\n--run.steps=1\n")
    write(folder / "config.json", "{}")
    return folder


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "name",
    ["config.json", "run.json", "checkpoints/1", "tokenizer/x/y", "../run/lock", "link"],
)
def test_files_of_any_run_are_kept(run, name):
    os.symlink("samples.txt", run / "link")
    with pytest.raises(UserError, match=r"^--record=.*: this file belongs to the run; choose"):
        check_outside_runs("--record", run / name)


def test_other_names_in_a_run_folder_are_free(run, tmp_path):
    for path in (run / "results.json", run / "1", run, tmp_path / "config.json"):
        check_outside_runs("--record", path)


def test_a_folder_of_a_run_can_be_a_link(run, tmp_path):
    (tmp_path / "disk").mkdir()
    (run / "checkpoints").rmdir()
    os.symlink(tmp_path / "disk", run / "checkpoints")
    with pytest.raises(UserError, match="belongs to the run"):
        check_outside_runs("--export.dir", tmp_path / "disk" / "1", run)


def test_texts_that_are_read_are_kept_under_any_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "a" / "b" / "text.txt"
    path.parent.mkdir(parents=True)
    write(path, "text\n")
    os.symlink(path, tmp_path / "link")
    for pattern in (str(path), f"{tmp_path}/**/*.txt", "~/a/b/*", f"{tmp_path}/link"):
        data = DataConfig(train=("nothing*", "gs://bucket/file", pattern))
        assert [flag for flag, _ in data_files(data)] == [f"--data.train={pattern}"]
        for written in (path, tmp_path / "link", tmp_path / "a" / ".." / "a" / "b" / "text.txt"):
            with pytest.raises(UserError, match="this file is read and would be overwritten"):
                check_not_read("--output", written, [DataConfig(), data])
        check_not_read("--output", tmp_path / "text.txt", [data])
    pairs = DataConfig(format="parallel", test=(str(path),), test_target=(f"{tmp_path}/link",))
    assert [flag for flag, _ in data_files(pairs)] == [
        f"--data.test={path}",
        f"--data.test_target={tmp_path}/link",
    ]


def test_a_training_reads_no_file_that_it_writes(tmp_path):
    text = tmp_path / "samples.txt"
    write(text, "text\n")
    check_reads_outside(tmp_path / "run", [("--data.train=x", text)])
    with pytest.raises(
        UserError, match=r"--data.train=x reads .*samples.txt, which is a file that"
    ):
        check_reads_outside(tmp_path, [("--data.train=x", text)])


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("samples.txt", "--data.train={0}/*.txt"),
        ("samples.txt", "--data.valid={0}/samples.txt"),
        ("run.json", "--embedding.file={0}/run.json"),
        ("lock", "--data.train={0}/lock"),
    ],
)
def test_train_keeps_data_under_its_own_names(name, flag, tmp_path, capsys):
    write(tmp_path / name, "one\n\ntwo\n")
    before = contents(tmp_path)
    arguments = ["--data.train=setup.cfg", flag.format(tmp_path), f"--run.dir={tmp_path}"]
    assert main(["train", "--model=transformer_lm", "--run.steps=1", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"reads {tmp_path / name}, which" in error
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"samples.txt": "mine"}, "has samples.txt but no recipe.flags: expected"),
        ({"recipe.flags": "# mine\n", "run.json": "mine"}, "has run.json but a recipe.flags that"),
        ({"recipe.flags": "", "tokenizer/vocabulary.json": "[]"}, "has tokenizer but a recipe"),
        ({"lock": "the key is under the mat\n"}, "has a file lock that no training wrote"),
    ],
)
def test_a_folder_with_files_of_a_user_is_refused(files, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, text)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        RunFolder(tmp_path).__enter__()
    assert contents(tmp_path) == before


def test_a_tokenizer_that_is_used_may_be_in_the_folder(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    with RunFolder(tmp_path, tokenizers=[f"{tmp_path}/./tokenizer"]):
        pass


def test_a_recipe_of_a_user_is_kept(tmp_path, capsys):
    mine = "# why these\n--run.steps=5\n"
    write(tmp_path / "recipe.flags", mine)
    with RunFolder(tmp_path) as folder:
        for _ in range(2):
            folder.write_recipe(["--run.steps=6"])
    assert (tmp_path / "recipe.flags.kept").read_text() == mine
    assert (tmp_path / "recipe.flags").read_text().splitlines()[1:] == ["--run.steps=6"]
    note = (
        f"note: {tmp_path}/recipe.flags is not as train wrote it; it is kept as recipe.flags.kept"
    )
    assert capsys.readouterr().err == note + "\n"
    # The recipe of another run, copied as a beginning.
    copied = f"{RECIPE_HEADING}--flagfile=other/recipe.flags\n--run.seed=7\n"
    write(tmp_path / "recipe.flags", copied)
    with RunFolder(tmp_path) as folder:
        folder.write_recipe(["--run.steps=6"])
    assert (tmp_path / "recipe.flags.kept-2").read_text() == copied


def test_the_recipe_of_a_resumed_run_is_kept_if_it_has_comments(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.write_recipe(["--run.steps=5"])
        CheckpointFolder(folder.checkpoints).folder(5).mkdir(parents=True)
        # From another folder, the heading has another path.
        text = (tmp_path / "recipe.flags").read_text()
        write(tmp_path / "recipe.flags", text.replace(str(tmp_path), "."))
        folder.write_recipe(["--run.steps=6"])
        assert not (tmp_path / "recipe.flags.kept").exists()
        commented = (tmp_path / "recipe.flags").read_text() + "# enough\n"
        write(tmp_path / "recipe.flags", commented)
        folder.write_recipe(["--run.steps=7"])
        assert (tmp_path / "recipe.flags.kept").read_text() == commented


@pytest.mark.parametrize(
    ("job", "flag"),
    [
        ("train", "--run.dir={0}/checkpoints/again"),
        ("build_vocab", "--tokenizer.dir={0}/tokenizer"),
    ],
)
def test_jobs_write_nothing_into_another_run(job, flag, run, capsys):
    before = contents(run)
    budget = "--run.steps=1"
    assert main([job, "--data.train=setup.cfg", budget, flag.format(run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "this file belongs to the run; choose" in error
    assert contents(run) == before
