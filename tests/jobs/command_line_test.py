"""What every job does with good and bad command lines."""

import re
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from tf_textgen.jobs import JOBS, main
from tf_textgen.jobs.command_line import parse

_PATH_NAMES = re.compile(r"(dir|file|saved_model|output|record)$")
_PATH_WORDS = re.compile(r"\b(folders?|files?|export)\b", re.IGNORECASE)
_NO_PATHS = (
    "server",
    "data.corpus",
    "data.format",
    "data.documents",
    "data.text_field",
    "data.source_field",
    "data.target_field",
)


def test_help_lists_every_job(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_helpshort_of_every_job(job, capsys):
    assert main([job, "--helpshort"]) == 0
    assert f"python -m tf_textgen {job}: " in capsys.readouterr().out


def test_help_names_the_command_that_was_used(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/tf-textgen", "train", "--helpshort"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("tf-textgen train: ")
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: tf-textgen JOB ") and "python -m" not in shown


@pytest.mark.parametrize("job", JOBS)
def test_every_flag_of_a_path_expands_the_home_folder(job, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    values = parse([job]).flag_values
    for name in values:
        flag = values[name]
        is_text = flag.parser.flag_type() in ("string", "path") and name not in _NO_PATHS
        if is_text and (_PATH_NAMES.search(name) or _PATH_WORDS.search(flag.help)):
            assert flag.parser.parse("~/x") == "/home/someone/x", name


def test_helpshort_imports_no_tensorflow():
    code = (
        "import sys; from tf_textgen.jobs import main; main(['train', '--helpshort']); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    start = time.monotonic()
    assert (
        subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )
    assert time.monotonic() - start < 5  # about 0.3 s if nothing else runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown job 'trian': expected one of"),
        (["train", "--transformer_lm.num_layer=3"], "Did you mean: transformer_lm.num_layers"),
        (
            ["train", "--transformer_lm.num_layers=0"],
            "--transformer_lm.num_layers=0: expected a value at least 1",
        ),
        (["train", "--transformer_lm.num_layers=two"], "two"),
        (["train", "extra"], "unexpected argument 'extra'"),
        (["train", "--run.dir=a\0b"], "--run.dir=a<NUL>b: expected text without the character NUL"),
        (
            ["train", f"--run.steps={2**63}"],
            f"--run.steps={2**63}: expected a value at least 1 and at most",
        ),
        (
            ["export", f"--export.version={2**63}"],
            f"--export.version={2**63}: expected a value at least 1 and at most",
        ),
        (["train", "--run.epochs=inf"], "--run.epochs=inf: expected a finite value above 0"),
        (
            ["train", "--optimizer.learning_rate=inf"],
            "--optimizer.learning_rate=inf: expected a finite value above 0",
        ),
        (
            ["train", "--run.seed=99999999999"],
            "--run.seed=99999999999: expected a value at least 0 and below 2147",
        ),
        (
            ["evaluate", "--metrics=bleu", "--output=/"],
            "--output=/: is a folder; expected the name of a file to write",
        ),
        (["train", "--run.seed=1", "--flagfile=x"], "expected --flagfile as the first flag"),
        (["train", "--flagfile=/no/such.flags"], "/no/such.flags"),
        (
            ["generate", "--decoding.temperature=nan", "--prompt=a"],
            "--decoding.temperature=nan: expected",
        ),
        (
            ["generate", "--decoding.temperature=-1", "--prompt=a"],
            "--decoding.temperature=-1: expected",
        ),
        (["generate", "--decoding.top_p=0", "--prompt=a"], "--decoding.top_p=0: expected"),
        (["generate", "--decoding.top_p=1.5", "--prompt=a"], "--decoding.top_p=1.5: expected"),
        (
            ["generate", "--decoding.max_new_tokens=0", "--prompt=a"],
            "--decoding.max_new_tokens=0: expected",
        ),
        (
            ["generate", "--decoding.banned=cat", "--decoding.forced=a cat", "--prompt=a"],
            "--decoding.forced='a cat' contains 'cat' of --decoding.banned; leave one of them out",
        ),
        (
            [
                "generate",
                "--decoding.min_length_ratio=2",
                "--decoding.max_length_ratio=1",
                "--prompt=a",
            ],
            "at most --deco",
        ),
        (
            ["generate", "--decoding.beam_width=4", "--decoding.temperature=0.7"],
            "expected --decoding.temperature=0 or",
        ),
        (
            ["generate", "--decoding.num_best=2"],
            "--decoding.num_best=2: expected at most --decoding.beam_width=1",
        ),
        (
            ["export", "--decoding.beam_width=4", "--decoding.top_k=7"],
            "expected --decoding.top_k=0 or no beam",
        ),
        (["generate", "--prompt=a"], "--run.dir is missing"),
        (["generate", "--run.dir=/no/such/run", "--prompt=a"], "is no run folder"),
        (["generate", "--saved_model=/no/such", "--prompt=a"], "no export there"),
        (["generate", "--prompt=a", "--prompt_file=b"], "expected one of them"),
        (["export"], "--run.dir is missing"),
        (["evaluate", "--split=trian"], "trian"),
        (["score", "--text=a", "--text_file=b"], "expected one of them"),
        (["build_vocab"], "--tokenizer.dir is missing"),
        (["generate", "--prompt=a\udcffb"], "character 11 is not valid UTF-8; expected UTF-8 text"),
        (
            ["generate", "--prompt=a", r"--decoding.stop=a\q"],
            "a backslash before 'q'; expected n, t, r",
        ),
        (
            ["generate", "--prompt=a", "--decoding.repetition_penalty=1e300"],
            "1e+300: expected a value of 1.2e-38 to",
        ),
        (
            ["train", "--run.steps=1", "--run.dir=/proc/no"],
            "expected a folder that can be made and written",
        ),
    ],
)
def test_bad_command_lines_are_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1


def test_a_flagfile_that_is_no_text(tmp_path, capsys):
    (tmp_path / "recipe.flags").write_bytes(b"\xff\xfe--run.steps=3")
    assert main(["train", f"--flagfile={tmp_path / 'recipe.flags'}"]) == 2
    assert (
        "is not UTF-8 (invalid start byte): expected a text file with one flag a line"
        in capsys.readouterr().err
    )


class _Job:
    HELP = "Fails."

    def __init__(self, error):
        self.error = error

    def define_flags(self, flag_values):
        pass

    def run(self, flag_values):
        raise self.error


OOM = tf.errors.ResourceExhaustedError(
    None,
    None,
    "node x\nOOM when allocating tensor with shape[9,9] and type float on /job:localhost by "
    "allocator cpu\n",
)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            OSError(28, "No space left on device", "x"),
            2,
            "cannot use x: no space left on device; free some space and run the same command again",
        ),
        (
            OSError(13, "Permission denied", "x"),
            2,
            "cannot use x: permission denied; choose another file or folder, or change its "
            "permissions",
        ),
        (
            OSError(5, "Input/output error"),
            2,
            "cannot use a file: input/output error; choose another file or folder",
        ),
        (
            MemoryError(),
            2,
            "out of memory (MemoryError); expected a model, a batch and a context that fit",
        ),
        (
            OOM,
            2,
            "out of memory (OOM when allocating tensor with shape[9,9] and type float); expected a "
            "model",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "x; full"),
            1,
            "unexpected ResourceExhaustedError: x; full;",
        ),
        (
            KeyError("a\nb"),
            1,
            r"unexpected KeyError: 'a\nb'; run it again with --debug to see the stack trace",
        ),
    ],
)
def test_every_failure_is_one_line(error, code, message, monkeypatch, capsys):
    monkeypatch.setattr("importlib.import_module", lambda path: _Job(error))
    assert main(["train"]) == code
    shown = capsys.readouterr().err
    assert message in shown and shown.startswith("error: ") and shown.count("\n") == 1
    with pytest.raises(type(error)):
        main(["train", "--debug"])


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m tf_textgen train --helpshort | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(
        "python -m tf_textgen train"
    )
