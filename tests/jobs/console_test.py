"""Output in the encodings of pipes, files and terminals."""

import io
import json
import os
import pty
import sys

import pytest

from tf_textgen.distribution import launcher
from tf_textgen.jobs import command_line, main
from tf_textgen.jobs.console import use_utf8
from tf_textgen.jobs.prompts import lines_of

TEXT = "né 春花 😀"


@pytest.fixture
def terminal(monkeypatch):
    """Returns a function that makes standard output a terminal of an encoding, and one that
    returns the bytes on it.
    """
    main_end, terminal_end = pty.openpty()
    opened = []

    def open_terminal(encoding):
        file = io.BufferedWriter(io.FileIO(os.dup(terminal_end), "w"))
        opened.append(io.TextIOWrapper(file, encoding=encoding))
        monkeypatch.setattr(sys, "stdout", opened[0])

    def shown():
        sys.stdout.flush()
        return os.read(main_end, 1000).replace(b"\r\n", b"\n")

    yield open_terminal, shown
    opened[0].close()
    os.close(main_end)
    os.close(terminal_end)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_pipes_and_files_are_utf8(name, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, name, stream)
    use_utf8()
    print(TEXT, file=stream, flush=True)
    assert stream.buffer.getvalue() == TEXT.encode() + b"\n"


def test_a_terminal_shows_what_it_can(terminal):
    open_terminal, shown = terminal
    open_terminal("latin-1")
    use_utf8()
    print(TEXT)
    assert shown() == b"n\xe9 \\u6625\\u82b1 \\ud83d\\ude00\n"
    print(json.dumps({"text": TEXT}, ensure_ascii=False))
    assert json.loads(shown().decode("latin-1")) == {"text": TEXT}


def test_a_utf8_terminal_is_left_as_it_is(terminal):
    open_terminal, shown = terminal
    open_terminal("utf-8")
    use_utf8()
    print(TEXT)
    assert shown() == TEXT.encode() + b"\n"


def test_output_of_workers_is_shown_in_the_encoding_of_the_terminal(terminal):
    open_terminal, shown = terminal
    open_terminal("ascii")
    reading, writing = os.pipe()
    os.write(writing, f"{TEXT}\n".encode())
    launcher._Lines("[worker 0] ", sys.stdout).relay(reading)
    assert shown() == b"[worker 0] n\\xe9 \\u6625\\u82b1 \\U0001f600\n"
    os.close(reading)
    os.close(writing)


def test_streams_of_other_kinds_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    use_utf8()
    print(TEXT)
    assert sys.stdout.getvalue() == TEXT + "\n"


def test_errors_of_a_job_are_utf8(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["generate", "--run.dir=春"]) == 2
    stream.flush()
    assert stream.buffer.getvalue().decode().startswith("error: 春 is no run folder")


@pytest.mark.parametrize("bad", ["\udce9", None])
def test_a_typed_line_in_another_encoding_is_one_error(bad, monkeypatch):
    def type_line(_):
        return bad if bad else b"\xe9".decode("utf-8")

    monkeypatch.setattr("builtins.input", type_line)
    monkeypatch.setattr("tf_textgen.jobs.prompts.is_terminal", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    with pytest.raises(ValueError, match="standard input: the typed line is not valid utf-8"):
        next(lines_of(None, "--prompt_file"))


def test_a_name_that_the_locale_lacks_is_bad_input(monkeypatch, capsys):
    def job(_):
        "春".encode("iso8859-1")

    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    monkeypatch.setattr("tf_textgen.jobs.describe.run", job)
    assert main(["describe"]) == 2
    assert "choose a locale of UTF-8" in capsys.readouterr().err
    monkeypatch.undo()
    assert not command_line._is_bad_name(UnicodeEncodeError("utf-8", "x", 0, 1, "no"))
