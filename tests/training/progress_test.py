"""What people see on a terminal and in a file."""

import io

import pytest

from tf_textgen.runs.measurement import Measurement
from tf_textgen.runs.run_state import RunState
from tf_textgen.training.progress import Progress, format_duration

METRICS = {
    "nats_per_token": 1.25,
    "perplexity": 3.49,
    "bits_per_byte": 1.5,
    "accuracy": 0.5,
    "tokens": 10,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def measurement(step):
    return Measurement(step, 2.5, 0.3, 1.0, 0.01, 400, 12345.6)


def show(output, total=10):
    state = RunState(total_steps=total)
    progress = Progress(state, output)
    for step in (5, 10):
        state.step = step
        progress.on_measurement(measurement(step))
    state.best_step = 10
    progress.on_validation(10, METRICS)
    progress.on_train_end()
    return output.getvalue()


def test_a_terminal_gets_a_bar_that_is_overwritten():
    text = show(Terminal())
    assert "\r[==========          ] step 5/10  loss 2.5000  12,346 tokens/s" in text
    assert "\r[====================] step 10/10  loss 2.5000  12,346 tokens/s  0:00 left" in text
    assert text.count("\n") == 1
    assert (
        "step 10: validation 1.2500 nats/token, perplexity 3.49, 1.500 bits/byte (best so far)\n"
        in text
    )
    before_line = text[: text.index("step 10: validation")]
    assert before_line.endswith(" \r"), "the bar is wiped before a line is written"


def test_a_file_gets_plain_lines():
    lines = show(io.StringIO()).splitlines()
    assert lines[0].startswith("step 5/10  loss 2.5000") and lines[1].startswith("step 10/10")
    assert "\r" not in "".join(lines) and len(lines) == 3


def test_time_left_leaves_the_first_validation_out_and_what_precedes_the_plan(monkeypatch):
    now = iter([100.0, 200.0, 300.0, 310.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    state, output = RunState(total_steps=None), Terminal()
    progress = Progress(state, output)
    for state.step, state.total_steps in ((5, None), (10, 60), (20, 60)):
        progress.on_measurement(measurement(state.step))
    assert output.getvalue().count("left") == 1 and "6:40 left" in output.getvalue()
    progress.on_validation(20, METRICS)
    for state.step in (30, 40):
        progress.on_measurement(measurement(state.step))
    assert output.getvalue().count("left") == 2 and output.getvalue().rstrip().endswith("0:20 left")


def test_time_left_leaves_compilation_out_and_counts_everything_since(monkeypatch):
    now = iter([100.0, 110.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    state, output = RunState(total_steps=40), Terminal()
    progress = Progress(state, output)
    for state.step in (10, 20):
        progress.on_measurement(measurement(state.step))
    assert output.getvalue().count("left") == 1 and "0:20 left" in output.getvalue()


def test_an_unknown_end_shows_no_time_left():
    assert "left" not in show(Terminal(), total=None) and "step 5  loss" in show(
        Terminal(), total=None
    )


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0:00"), (65, "1:05"), (3600 * 2 + 184, "2:03:04")]
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text
