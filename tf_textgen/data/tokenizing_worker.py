"""A process that tokenizes for another one: `python -m tf_textgen.data.tokenizing_worker
FILE_DESCRIPTOR`.

The first message on the socket is a pickled function. Each further message is an argument, and its
answer is `(result, None)` or `(None, Failure)`. The process ends when the other end of the socket
is closed.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from tf_textgen.compat import import_tensorflow_quietly
from tf_textgen.data.tokenizing_processes import Failure
from tf_textgen.errors import UserError


def main(descriptor: int) -> None:
    import_tensorflow_quietly()
    import tensorflow as tf

    # There are as many processes as cores, so each uses one thread.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    serve(Connection(descriptor))


def serve(connection: Connection) -> None:
    """Answers messages until the other end is closed."""
    work: Callable[[Any], Any] | None = None
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        result = None
        failure = None
        try:
            if work is None:
                work = pickle.loads(message)
            else:
                result = work(pickle.loads(message))
        except Exception as error:
            failure = _failure(error)
        try:
            connection.send((result, failure))
        except OSError:
            return


def _failure(error: Exception) -> Failure:
    line = str(error)
    if not isinstance(error, UserError):
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        line = (
            f"tokenization failed ({reason}); --data.tokenizing_processes=1 --debug shows the "
            "stack trace"
        )
    return Failure(line, traceback.format_exc())


if __name__ == "__main__":
    main(int(sys.argv[1]))
