"""`build_vocab` from the command line."""

import pytest

from tests.support.data_files import write
from tf_textgen.jobs import main
from tf_textgen.text import load_tokenizer


@pytest.fixture
def build(tmp_path, capsys):
    path = write(tmp_path / "pairs.tsv", "one two\tun deux\ntwo\tdeux\n")

    def run(*flags):
        code = main(
            [
                "build_vocab",
                f"--data.train={path}",
                "--data.format=tsv",
                "--tokenizer.kind=words",
                *flags,
            ]
        )
        written = capsys.readouterr()
        return code, written.out.splitlines(), written.err.splitlines()

    return run


def words(folder):
    return [piece.decode() for piece in load_tokenizer(folder).pieces.numpy()[6:]]


def test_one_for_both_sides(build, tmp_path):
    code, lines, _ = build(f"--tokenizer.dir={tmp_path / 'all'}", "--tokenizer.symbols=#1")
    assert code == 0 and lines == [f"{tmp_path / 'all'}: words tokenizer with 11 ids"]
    assert words(tmp_path / "all") == ["#1", "deux", "two", "one", "un"]


def test_one_for_each_side(build, tmp_path):
    folders = [tmp_path / "target", tmp_path / "source"]
    flags = [f"--tokenizer.dir={folders[0]}", f"--source_tokenizer.dir={folders[1]}"]
    code, lines, _ = build("--tokenizer.shared=false", *flags)
    assert code == 0 and lines == [f"{folder}: words tokenizer with 8 ids" for folder in folders]
    assert [words(folder) for folder in folders] == [["deux", "un"], ["two", "one"]]


def test_speakers_of_dialogues_are_words(build, tmp_path):
    assert build("--data.format=dialogue", f"--tokenizer.dir={tmp_path / 'all'}")[0] == 0
    assert words(tmp_path / "all")[:2] == ["<A>", "<B>"]


def test_a_tokenizer_replaces_only_a_tokenizer(build, tmp_path):
    folder = f"--tokenizer.dir={tmp_path / 'all'}"
    for flags in ([], ["--tokenizer.kind=characters"]):
        assert build(folder, *flags)[0] == 0
    mine = {"tokenizer.json": '{"version": "1.0", "model": {}}', "vocabulary.json": "[]"}
    for name, text in mine.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name / name, text)
        code, _, errors = build(f"--tokenizer.dir={tmp_path / name}")
        assert code == 2 and f"has {name} that build_vocab did not write" in errors[0]
        assert [path.name for path in (tmp_path / name).iterdir()] == [name]
        assert (tmp_path / name / name).read_text() == text


def test_a_tokenizer_replaces_no_text_and_not_the_other_one(build, tmp_path):
    write(tmp_path / "vocabulary.json", "one\ttwo\n")
    code, _, errors = build(f"--data.train={tmp_path}/*.json", f"--tokenizer.dir={tmp_path}")
    assert code == 2 and "vocabulary.json: this file is read and would be" in errors[0]
    same = [f"--tokenizer.dir={tmp_path}/all", f"--source_tokenizer.dir={tmp_path}/./all"]
    code, _, errors = build("--tokenizer.shared=false", *same)
    assert code == 2 and "are the same folder: expected one for each tokenizer" in errors[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--tokenizer.dir is missing: expected the folder to write the tokenizer to"),
        (
            ["--tokenizer.dir=x", "--tokenizer.shared=false"],
            "--source_tokenizer.dir is missing: expected the folder",
        ),
        (
            ["--tokenizer.dir=x", "--source_tokenizer.dir=y"],
            "--source_tokenizer.dir=y with a shared vocabulary",
        ),
        (
            ["--tokenizer.dir=x", "--tokenizer.kind=bytes", "--tokenizer.symbols=a"],
            "--tokenizer.symbols=a with --tok",
        ),
    ],
)
def test_bad_input_is_one_line(build, flags, message):
    code, _, errors = build(*flags)
    assert code == 2 and len(errors) == 1 and message in errors[0]
