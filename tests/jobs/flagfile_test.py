"""Flag files: UTF-8, comments, inclusion, and errors."""

import builtins
import functools

import pytest

from tests.support.data_files import write
from tf_textgen.errors import UserError
from tf_textgen.jobs.flagfile import with_flagfile


@pytest.mark.parametrize("form", [["--flagfile={}"], ["-flagfile={}"], ["--flagfile", "{}"]])
def test_lines_take_the_place_of_the_file(form, tmp_path, monkeypatch):
    other = write(tmp_path / "other.flags", "// shared\r\n--run.seed=2\r\n")
    lines = f"\ufeff# 春\n\n  --run.sample_prompt=春 花 \n--flagfile={other}\n--norun.x\n"
    recipe = write(tmp_path / "recipe.flags", lines)
    # The locale has another encoding.
    real_open = builtins.open

    def open_in_locale(file, mode="r", encoding="latin-1"):
        return real_open(file, mode, encoding=encoding)

    monkeypatch.setattr(builtins, "open", functools.wraps(real_open)(open_in_locale))
    arguments = [part.format(recipe) for part in form]
    assert with_flagfile([*arguments, "--run.steps=3"]) == [
        "--run.sample_prompt=春 花",
        "--run.seed=2",
        "--norun.x",
        "--run.steps=3",
    ]


def test_other_arguments_stay():
    for arguments in ([], ["--flagfiles=x"], ["flagfile=x"], ["--run.dir=a", "--flagfile"]):
        assert with_flagfile(arguments) == arguments
    assert with_flagfile(["--flagfile=", "--run.steps=3"]) == ["--run.steps=3"]


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.flags", "--flagfile=~/b.flags\n")
    write(tmp_path / "b.flags", "--run.steps=3\n")
    assert with_flagfile(["--flagfile=~/a.flags"]) == ["--run.steps=3"]


def test_bad_files_are_errors(tmp_path):
    loop = tmp_path / "loop.flags"
    write(loop, f"--flagfile={loop}\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"--run.seed=1\xff\n")
    for path, message in (
        (loop, "this file includes itself"),
        (binary, "is not UTF-8 .*: expected a text file with one flag a line"),
        (tmp_path / "none", "cannot be read .No such file"),
    ):
        with pytest.raises(UserError, match=f"--flagfile={path}:? {message}"):
            with_flagfile([f"--flagfile={path}"])
    with pytest.raises(UserError, match="--flagfile is empty"):
        with_flagfile(["--flagfile"])
