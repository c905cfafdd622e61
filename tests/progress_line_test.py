"""Progress on a terminal and in a file."""

import io

from tf_textgen.progress_line import ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_redrawn():
    output = Terminal()
    line = ProgressLine(output)
    line.draw("long text")
    line.draw("short")
    line.keep_drawn()
    line.keep_drawn()
    line.draw("next")
    line.write("stays")
    assert output.getvalue() == "\rlong text\rshort    \n\rnext\r    \rstays\n"


def test_a_file_has_lines_when_they_are_due(monkeypatch):
    now = iter([100.0, 104.0, 105.0, 106.0, 107.0, 111.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    output = io.StringIO()
    line = ProgressLine(output, period_s=5.0)
    assert [line.is_due(is_last=is_last) for is_last in (False, False, False, True, False)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    line.draw("nothing")
    line.keep_drawn()
    line.write("stays")
    assert output.getvalue() == "stays\n"
    monkeypatch.setattr("time.monotonic", lambda: 1.0)
    early = ProgressLine(output, starts_due=True)
    assert early.is_due() and not early.is_due()
