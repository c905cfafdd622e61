"""What every job does with good and bad command lines."""

import subprocess
import sys
import time

import pytest

from tf_textgen.jobs import JOBS, main


def test_help_lists_every_job(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_helpshort_of_every_job(job, capsys):
    assert main([job, "--helpshort"]) == 0
    assert f"python -m tf_textgen {job}: " in capsys.readouterr().out


def test_helpshort_imports_no_tensorflow():
    code = (
        "import sys; from tf_textgen.jobs import main; main(['train', '--helpshort']); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    start = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert time.monotonic() - start < 5  # about 0.3 s where nothing else runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown job 'trian': expected one of"),
        (["train", "--transformer_lm.num_layer=3"], "Did you mean: transformer_lm.num_layers"),
        (["train", "--transformer_lm.num_layers=0"], "--transformer_lm.num_layers=0: expected a value at least 1"),
        (["train", "--transformer_lm.num_layers=two"], "two"),
        (["train", "extra"], "unexpected argument 'extra'"),
        (["train", "--run.seed=1", "--flagfile=x"], "expected --flagfile as the first flag"),
        (["train", "--flagfile=/no/such.flags"], "/no/such.flags"),
        (["generate", "--decoding.temperature=nan", "--prompt=a"], "--decoding.temperature=nan: expected"),
        (["generate", "--decoding.temperature=-1", "--prompt=a"], "--decoding.temperature=-1: expected"),
        (["generate", "--decoding.top_p=0", "--prompt=a"], "--decoding.top_p=0: expected"),
        (["generate", "--decoding.top_p=1.5", "--prompt=a"], "--decoding.top_p=1.5: expected"),
        (["generate", "--decoding.max_new_tokens=0", "--prompt=a"], "--decoding.max_new_tokens=0: expected"),
        (["generate", "--prompt=a"], "--run.dir is missing"),
        (["generate", "--run.dir=/no/such/run", "--prompt=a"], "is no run folder"),
        (["generate", "--saved_model=/no/such", "--prompt=a"], "no export there"),
        (["generate", "--prompt=a", "--prompt_file=b"], "expected one of them"),
        (["export"], "--run.dir is missing"),
        (["evaluate", "--split=trian"], "trian"),
        (["score", "--text=a", "--text_file=b"], "expected one of them"),
        (["build_vocab"], "--tokenizer.dir is missing"),
    ],
)
def test_bad_command_lines_are_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
