"""A headless Chromium, spoken to over pipes in its DevTools protocol: no driver and no package are
needed.

Reference: Chrome DevTools Protocol; `--remote-debugging-pipe` reads from descriptor 3 and writes to
4, JSON ended by a zero byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
DEADLINE_S = 120
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-pipe --hide-scrollbars"
)


def find() -> str | None:
    """The path of a browser, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One page of a browser.

    Attributes:
      problems: what the page wrote to its console as an error, violations of its content security
        policy included.
      requested: the addresses that it asked for.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._unread, self._last = to_browser, from_browser, b"", 0
        self._session: dict[str, str] = {}
        self.problems: list[str] = []
        self.requested: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page, awaited."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The first value of the expression that is true."""
        end = time.monotonic() + DEADLINE_S
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)
        return value

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def press(self, key: str, **more: Any) -> None:
        """A key that stands for no character, pressed and let go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **more)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def screenshot(self, path: pathlib.Path) -> None:
        path.write_bytes(
            base64.b64decode(
                self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            )
        )

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._from], [], [], DEADLINE_S)
            read = os.read(self._from, 2**20) if ready else b""
            assert read, "the browser says nothing more"
            self._unread += read
        message, _, self._unread = self._unread.partition(b"\0")
        found = json.loads(message)
        self._note(found.get("method"), found.get("params", {}))
        return found

    def _note(self, method: str | None, about: dict[str, Any]) -> None:
        if method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.problems.append(about["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(about["exceptionDetails"]))
        elif method == "Network.requestWillBeSent":
            self.requested.append(about["request"]["url"])


@contextlib.contextmanager
def browsing(executable: str, profile: pathlib.Path) -> Iterator[Page]:
    """An empty page of a browser that is started with a new profile and ended behind the block."""
    read_commands, to_browser = os.pipe()
    from_browser, write_answers = os.pipe()
    command = f'exec "$0" "$@" 3<&{read_commands} 4>&{write_answers}'
    flags = [*_FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", command, executable, *flags],
        pass_fds=[read_commands, write_answers],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        page = Page(to_browser, from_browser)
        yield page
        page._session = {}
        page.call("Browser.close")
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
