"""Locks between open files."""

import os
import threading

import pytest

from tf_textgen.file_locks import lock


def test_a_lock_is_waited_for_or_refused(tmp_path):
    path = tmp_path / "lock"
    waits = threading.Event()
    with open(path, "a") as first, open(path, "a") as second:
        lock(first)

        def refuse():
            raise RuntimeError("held")

        with pytest.raises(RuntimeError, match="held"):
            lock(second, refuse)
        waiting = threading.Thread(target=lock, args=(second, waits.set))
        waiting.start()
        assert waits.wait(60) and waiting.is_alive()
        first.close()
        waiting.join(60)
        assert not waiting.is_alive()


def test_a_folder_can_be_locked(tmp_path):
    handles = [os.open(tmp_path, os.O_RDONLY) for _ in range(2)]
    lock(handles[0])
    calls = []

    def stop():
        calls.append(1)
        os.close(handles[0])

    lock(handles[1], stop)
    os.close(handles[1])
    assert calls == [1]
