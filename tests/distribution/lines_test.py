"""Lines against what Python's own line splitting makes of the whole output."""

import io

import pytest

from tf_textgen.distribution.lines import PrefixedLines

TEXT = "plain\n\n从前有座山 \U0001f600\nlast without an end"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_whole_however_they_come(size):
    output, data = io.BytesIO(), TEXT.encode()
    lines = PrefixedLines("[w] ", output)
    for at in range(0, len(data), size):
        lines.feed(data[at : at + size])
        assert output.getvalue() == b"" or output.getvalue().endswith(b"\n")
    lines.finish()
    assert output.getvalue().decode() == "".join(f"[w] {line}\n" for line in TEXT.splitlines())


class _Writes(io.BytesIO):
    def __init__(self):
        super().__init__()
        self.seen = []

    def write(self, data):
        self.seen.append(bytes(data))
        return super().write(data)


def test_only_whole_lines_are_written():
    output = _Writes()
    lines = PrefixedLines("[w] ", output)
    for data in (b"a", b"b\nc\nd", b"e\n"):
        lines.feed(data)
    assert output.seen == [b"[w] ab\n[w] c\n", b"[w] de\n"]


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\r[=   ]\r[==  ]\r[====]\n", b"[====]\n"),
        (b"\r[=   ] 1\r        \rstep 2\n", b"step 2\n"),  # how a bar is taken away before a line
        (b"windows\r\nunix\n", b"windows\nunix\n"),
        (b"[=   ]\r[==  ]\r", b"[==  ]\n"),  # the end comes in the middle of it
        (b"a\r\r\nb\r\r", b"a\nb\n"),
    ],
)
def test_of_a_line_drawn_again_the_last_state_is_shown(written, shown, size):
    output = io.BytesIO()
    lines = PrefixedLines("", output)
    for at in range(0, len(written), size):
        lines.feed(written[at : at + size])
    lines.finish()
    assert output.getvalue() == shown


def test_a_bar_without_an_end_does_not_pile_up():
    output = io.BytesIO()
    lines = PrefixedLines("", output)
    for step in range(2000):
        lines.feed(b"\r[%04d]" % step)
    assert len(lines._begun) == len("[0000]")


@pytest.mark.parametrize(
    ("written", "last"),
    [
        ("one\ntwo\n", "two"),
        ("one\n \n\n", "one"),
        ("error: 磁盘 full\nwarning at exit\n", "error: 磁盘 full"),
        ("error: first\nerror: second\n", "error: second"),
        ("Traceback\nValueError: no end", "ValueError: no end"),
        ("", ""),
    ],
)
def test_last_line_that_says_something(written, last):
    lines = PrefixedLines("", io.BytesIO())
    lines.feed(written.encode())
    lines.finish()
    assert lines.last == last
