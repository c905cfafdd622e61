"""The model at one name: its newest version, replaced while it answers.

A new version is loaded and warmed up next to the old one, then takes its place; the old one answers
what it has begun and goes. A version that fails is reported in the log and the old one stays.
Deleting the newest version's folder goes back to the one before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tf_textgen.errors import UserError
from tf_textgen.export.server_files import model_name
from tf_textgen.export.versions import version_number
from tf_textgen.server.batching import Batcher
from tf_textgen.server.loaded_version import LoadedVersion
from tf_textgen.server.request_error import RequestError
from tf_textgen.server.server_config import ServerConfig

# The states of TF Serving (tensorflow_serving/apis/get_model_status.proto).
_LOADING = "LOADING"
_AVAILABLE = "AVAILABLE"
_UNLOADING = "UNLOADING"
_END = "END"


@dataclasses.dataclass(eq=False)
class ServedVersion:
    """A version that answers, and how many requests it has to finish."""

    number: int
    loaded: LoadedVersion
    batcher: Batcher
    leases: int = 0


class ServedModel:
    """Loads the newest version when made.

    Args:
      path: `NAME`, whose newest version is served and whose new ones are watched for, or
        `NAME/VERSION`, which stays.
      config: the sizes of batches and of the queue, and how long an old version may finish.
      on_batch: called with the signature and the rows of each run of the graph.
      log: called with a line for each change of a version.

    Raises:
      UserError: if there is no version that can be served.
    """

    def __init__(
        self,
        path: str,
        config: ServerConfig,
        *,
        on_batch: Callable[[str, int], None] = lambda signature, rows: None,
        log: Callable[[str], None] = lambda message: None,
    ) -> None:
        # Links are not followed, so that the name does not change with their target.
        folder = pathlib.Path(os.path.abspath(path))
        self._fixed = version_number(folder.name) if (folder / "saved_model.pb").is_file() else None
        self._folder = folder if self._fixed is None else folder.parent
        self.name = model_name(self._folder)
        self.created = int(time.time())
        self._config = config
        self._on_batch = on_batch
        self._log = log
        self._changed = threading.Condition()
        self._states: dict[int, tuple[str, str]] = {}  # version -> state, what failed
        self._failed: dict[
            int, int
        ] = {}  # version -> when its graph was written: another one may be tried again
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        numbers = sorted(self._numbers(), reverse=True)
        if not numbers:
            raise UserError(
                f"--saved_model={path}: no export there; expected NAME or NAME/VERSION as `export` "
                "wrote it"
            )
        self._current = self._load_first(numbers)

    @property
    def current(self) -> ServedVersion:
        """The version that answers new requests."""
        return self._current

    @contextlib.contextmanager
    def lease(self, number: int | None = None) -> Iterator[ServedVersion]:
        """The version `number`, or the newest, which does not go before the block is left.

        Raises:
          RequestError: 404 if that version does not answer.
        """
        with self._changed:
            version = self._current
            if number not in (None, version.number):
                raise RequestError(
                    404, f"Servable not found for request: Specific({self.name}, {number})"
                )
            version.leases += 1
        try:
            yield version
        finally:
            with self._changed:
                version.leases -= 1
                self._changed.notify_all()

    def status(self, number: int | None = None) -> dict[str, Any]:
        """The states of all versions, or of one, newest first, in the form of TF Serving."""
        with self._changed:
            states = dict(self._states)
        if number is not None and number not in states:
            raise RequestError(404, f"Could not find version {number} of model {self.name}")
        chosen = sorted(states, reverse=True) if number is None else [number]
        return {"model_version_status": [_status(one, *states[one]) for one in chosen]}

    def watch(self) -> None:
        """Looks for new versions until `close`."""
        if self._fixed is None:
            self._watcher = threading.Thread(
                target=self._watch, name="version watcher", daemon=True
            )
            self._watcher.start()

    def refresh(self) -> None:
        """Takes up the newest version that does not fail, if it is not there yet; returns when the
        old one is gone.
        """
        numbers = [
            number
            for number in self._numbers()
            if self._failed.get(number) != self._written(number)
        ]
        if not numbers or max(numbers) == self._current.number:
            return
        number = max(numbers)
        old = self._current
        try:
            version = self._load(number)
        except UserError as error:
            self._fail(number, error, f"version {old.number} continues")
            return
        with self._changed:
            self._current = version
            self._states[old.number] = (_UNLOADING, "")
        self._log(f"version {number} of {self.name} answers instead of version {old.number}")
        self._drain(old)
        self._set(old.number, _END)
        del old
        gc.collect()  # graphs refer to themselves

    def close(self) -> None:
        """Ends watching, finishes what waits."""
        self._stopping.set()
        if self._watcher:
            self._watcher.join()
        self._drain(self._current)

    def _watch(self) -> None:
        while not self._stopping.wait(self._config.poll_s):
            try:
                self.refresh()
            except (
                Exception
            ) as error:  # a watcher that died would leave the server at its version without a word
                self._log(f"looking for versions of {self.name} failed: {error}")

    def _numbers(self) -> list[int]:
        """The versions in the folder; what an exporter has not renamed yet is none."""
        if self._fixed is not None:
            return [self._fixed]
        graphs = self._folder.glob("*/saved_model.pb")
        numbers = (version_number(graph.parent.name) for graph in graphs)
        return [number for number in numbers if number is not None]

    def _written(self, number: int) -> int:
        try:
            return (self._folder / str(number) / "saved_model.pb").stat().st_mtime_ns
        except OSError:  # deleted meanwhile
            return 0

    def _load_first(self, numbers: Sequence[int]) -> ServedVersion:
        """The first version that can be served: one that is broken must not make an outage of a
        restart.
        """
        problems: list[UserError] = []
        for number in numbers:
            try:
                return self._load(number)
            except UserError as error:
                problems.append(error)
                self._fail(number, error, "the one before it is tried")
        raise problems[0]

    def _fail(self, number: int, error: UserError, instead: str) -> None:
        self._failed[number] = self._written(number)
        self._set(number, _END, str(error))
        self._log(f"version {number} of {self.name} failed, {instead}: {error}")

    def _load(self, number: int) -> ServedVersion:
        self._set(number, _LOADING)
        loaded = LoadedVersion(self._folder / str(number))
        loaded.warm_up()
        batcher = Batcher(
            loaded.run,
            max_batch_size=self._config.max_batch_size,
            batch_timeout_s=self._config.batch_timeout_ms / 1000,
            max_queue_rows=self._config.max_queue_rows,
            num_threads=self._config.num_batch_threads,
            on_batch=self._on_batch,
        )
        self._set(number, _AVAILABLE)
        return ServedVersion(number, loaded, batcher)

    def _drain(self, version: ServedVersion) -> None:
        """Waits until nobody needs the version, but not for ever."""
        until = time.monotonic() + self._config.drain_timeout_s
        with self._changed:
            while version.leases and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
        version.batcher.close()

    def _set(self, number: int, state: str, problem: str = "") -> None:
        with self._changed:
            self._states[number] = (state, problem)


def _status(number: int, state: str, problem: str) -> dict[str, Any]:
    status = {"error_code": "UNKNOWN" if problem else "OK", "error_message": problem}
    return {"version": str(number), "state": state, "status": status}
