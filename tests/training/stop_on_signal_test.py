"""A signal saves and stops a training after its step."""

import os
import signal
import subprocess
import sys
import types

import pytest

from tf_textgen.distribution.workers import Workers
from tf_textgen.training.callbacks import RunCallback
from tf_textgen.training.stop_on_signal import StopOnSignal


class Saver:
    """Counts what is saved."""

    def __init__(self):
        self.state = types.SimpleNamespace(step=7)
        self.saved = 0

    def save(self):
        self.saved += 1


class Listener(RunCallback):
    def __init__(self):
        super().__init__()
        self.messages = []

    def on_message(self, text):
        self.messages.append(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_step_is_finished_saved_and_reported(number):
    before = signal.getsignal(number)
    saver = Saver()
    listener = Listener()
    model = types.SimpleNamespace(stop_training=False)
    with StopOnSignal(saver, [listener], Workers()) as stop:
        stop.set_model(model)
        stop.on_train_batch_end(0)
        assert (saver.saved, model.stop_training, stop.number) == (0, False, None)
        os.kill(os.getpid(), number)
        assert saver.saved == 0
        stop.on_train_batch_end(1)
        assert (saver.saved, model.stop_training, stop.number) == (1, True, number)
    expected = f"{number.name}: saved step 7; the same command again continues from there"
    assert listener.messages == [expected]
    assert signal.getsignal(number) is before


def test_a_second_interrupt_ends_the_process_at_once():
    code = """
import signal, threading, time
from tf_textgen.distribution.workers import Workers
from tf_textgen.training.stop_on_signal import StopOnSignal
with StopOnSignal(None, [], Workers()):
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.2)
    time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "interrupted"
