"""Exclusive locks of files and folders. Does not import TensorFlow."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import IO, Any


def lock(file: IO[Any] | int, on_wait: Callable[[], object] | None = None) -> None:
    """Takes the lock of an open file or folder, which ends when it is closed or its process ends.

    Args:
      file: the open file, or its descriptor.
      on_wait: called before waiting for another process; it may raise instead of waiting.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is not None:
            on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)
