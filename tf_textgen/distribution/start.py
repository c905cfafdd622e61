"""Becomes a worker: takes its cores, ties its life to the launcher's and executes the command in
its own place.

    python start.py LAUNCHER_PID CORE,CORE,... COMMAND ARGUMENT ...

Both settings outlive the execution. A program of its own makes them, since `preexec_fn` of
`subprocess` may deadlock next to threads, and an affinity set from outside could come after
TensorFlow has sized its thread pools. If the kernel knows no signal at the parent's death (all
but Linux), a worker ends at its next line of output.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _die_with(launcher: int) -> None:
    """SIGKILL, which nothing can put off: checkpoints are whole at any moment."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != launcher:  # it ended before it could be watched
        sys.exit("the launcher has ended")


if __name__ == "__main__":
    _launcher, _cores, *_command = sys.argv[1:]
    if _cores:
        os.sched_setaffinity(0, {int(core) for core in _cores.split(",")})
    _die_with(int(_launcher))
    os.execv(_command[0], _command)
