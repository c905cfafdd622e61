"""The local server as a process: a socket, a model, and an end without loss.

On SIGTERM it accepts nothing more, finishes what is open, and `serve` returns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from tf_textgen.errors import UserError
from tf_textgen.server.app import App
from tf_textgen.server.monitoring import Monitoring
from tf_textgen.server.served_model import ServedModel
from tf_textgen.server.server_config import ServerConfig

_BACKLOG = 1024
_STDERR = 2
# A client that asks again just when its connection is closed gets no answer: let that be rare.
_KEEP_ALIVE_S = 75


class LocalServer:
    """A model at an address, loaded when made.

    Args:
      saved_model: `NAME`, whose newest version is served, or `NAME/VERSION`.
      config: address and limits.

    Attributes:
      url: if it answers.

    Raises:
      UserError: if the address cannot be had, or there is no version that can be served.
    """

    def __init__(self, saved_model: str, config: ServerConfig) -> None:
        self._config = config
        with contextlib.ExitStack() as opened:
            self._socket = opened.enter_context(_bind(config))  # first, since it fails at once
            # A copy of standard error, which the loading of a version keeps from writing for a
            # while.
            self._log = opened.enter_context(os.fdopen(os.dup(_STDERR), "w", encoding="utf-8"))
            self.monitoring = Monitoring(
                self._log,
                log_texts=config.log_texts,
                queued_rows=self._queued_rows,
                versions=self._versions,
            )
            self.model = ServedModel(
                saved_model, config, on_batch=self.monitoring.on_batch, log=self.monitoring.note
            )
            opened.pop_all()  # `serve` closes them
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        settings = uvicorn.Config(
            App(self.model, config, self.monitoring),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=config.drain_timeout_s,
        )
        self._server = uvicorn.Server(settings)

    def serve(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Answers until SIGTERM, SIGINT (KeyboardInterrupt then) or `stop`."""
        self.model.watch()
        try:
            # Another process may have begun to, while the model was loaded.
            with _told(self._config):
                self._socket.listen(_BACKLOG)
            on_ready()
            with _sigterm_ignored():
                self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self.model.close()
            self._log.close()

    def stop(self) -> None:
        """Lets `serve` finish what is open and return; from any thread."""
        self._server.should_exit = True

    def _queued_rows(self) -> int:
        return self.model.current.batcher.queued_rows

    def _versions(self) -> dict[str, int]:
        return {self.model.name: self.model.current.number}


@contextlib.contextmanager
def _sigterm_ignored() -> Iterator[None]:
    """uvicorn sends itself the signal again when it has finished, which would end the process by
    it.
    """
    # No thread but this one may, nor does uvicorn.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _bind(config: ServerConfig) -> socket.socket:
    with _told(config):
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    return bound


@contextlib.contextmanager
def _told(config: ServerConfig) -> Iterator[None]:
    """Returns the system's error for an address as a `UserError`."""
    try:
        yield
    except (OSError, UnicodeError) as error:  # a name that is no domain's is no text either
        problem = getattr(error, "strerror", None) or error
        raise UserError(
            f"--host={config.host} --port={config.port}: cannot listen there ({problem}); expected "
            "an address of this machine and a free port; --port=0 takes one"
        ) from error
