"""Two small runs for the jobs that use one: a language model, and an encoder-decoder that `train`
made of dialogues.
"""

import builtins
import io
import sys

import pytest

from tests.support.data_files import write
from tests.support.run_folders import write_run
from tf_textgen.data.data_config import DataConfig
from tf_textgen.jobs import main, run_flags
from tf_textgen.runs import loading
from tf_textgen.text.bytes import ByteTokenizer

DIALOGUES = (
    "1\thi you\thello\tbye now\tgood bye\n2\tyou there\tyes me\n3\talone\n4\tbye\tgood bye\n"
)


@pytest.fixture(scope="package")
def text_run(tmp_path_factory):
    """A Transformer over bytes, read in windows of 16."""
    folder = tmp_path_factory.mktemp("text")
    path = write(folder / "valid.txt", "one line\nanother one\n\nsome other document, not short\n")
    data = DataConfig(valid=(path,), context=16, batch_size=2, cache_dir=str(folder / "cache"))
    return write_run(
        folder / "run", "transformer_lm", ByteTokenizer(), data, max_positions=32, num_layers=1
    )


@pytest.fixture(scope="package")
def dialogue_run(tmp_path_factory):
    """An encoder-decoder with a vocabulary for each side, after two steps."""
    folder = tmp_path_factory.mktemp("dialogues")
    path = write(folder / "train.tsv", DIALOGUES)
    valid = write(folder / "valid.tsv", DIALOGUES.replace("yes me", "yes"))
    flags = [
        "--model=rnn_seq2seq",
        "--data.format=dialogue",
        "--data.first_turn_column=2",
        f"--data.train={path}",
    ]
    flags += [
        f"--data.valid={valid}",
        "--data.context_turns=2",
        "--data.num_buckets=1",
        "--data.batch_tokens=64",
    ]
    flags += [
        "--tokenizer.kind=words",
        "--tokenizer.shared=false",
        f"--data.cache_dir={folder / 'cache'}",
    ]
    flags += [f"--rnn_seq2seq.{field}=8" for field in ("width", "embedding_width")]
    flags += [f"--rnn_seq2seq.{side}_layers=1" for side in ("encoder", "decoder")]
    assert (
        main(["train", *flags, f"--run.dir={folder / 'run'}", "--run.steps=2", "--run.samples=0"])
        == 0
    )
    return folder / "run"


_LOADED, _GENERATORS = {}, {}


@pytest.fixture
def job(monkeypatch, capsys):
    """Runs a job as a user does: `(exit code, lines of its output, lines of its errors)`.

    A run is loaded, and its graphs are traced, once for all tests.
    """
    real_load, real_generator_of = run_flags.load, loading.generator_of

    def load(flag_values):
        key = tuple(
            flag_values[name].value for name in ("run.dir", "run.checkpoint", "run.weights")
        )
        if key not in _LOADED:
            _LOADED[key] = real_load(flag_values)
        return _LOADED[key]

    def generator_of(run, **bounds):
        key = (id(run), *sorted(bounds.items()))
        if key not in _GENERATORS:
            _GENERATORS[key] = real_generator_of(run, **bounds)
        return _GENERATORS[key]

    monkeypatch.setattr(run_flags, "load", load)
    monkeypatch.setattr(loading, "generator_of", generator_of)

    def run(*arguments, stdin=None, typed=None):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
        if typed is not None:
            monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
            lines = iter(typed)

            def type_line(_):
                line = next(lines, None)
                if line is None:
                    raise EOFError
                return line

            monkeypatch.setattr(builtins, "input", type_line)
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return code, written.out.splitlines(), written.err.splitlines()

    return run
