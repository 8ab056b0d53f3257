"""A headless Chromium for tests, spoken to over two pipes (the DevTools protocol): no driver, no port, no library."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")


def find_browser() -> str:
    """Return the browser's path; skip the test, saying why, where there is none."""
    named = os.environ.get("SEG_NODE_CHROMIUM")
    found = named or next((path for name in _NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} in PATH; or set SEG_NODE_CHROMIUM to one")
    if shutil.which(found) is None:
        pytest.fail(f"SEG_NODE_CHROMIUM is {found}, which cannot be run")
    return found


# a browser reads commands at 3 and answers at 4: put the pipes there, then become the browser
_START = "import os, sys; [os.dup2(int(sys.argv[i]), i + 2) for i in (1, 2)]; os.execvp(sys.argv[3], sys.argv[3:])"


def _pipe() -> tuple[int, int]:
    """Return both ends of a pipe, neither of them at 3 or 4."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]


class Chromium:
    """One browser with one page. A context manager; ``events`` holds all that the page gave rise to."""

    def __init__(self, browser: str, folder: Path, width: int = 1280, height: int = 900) -> None:
        self.events: list[dict[str, Any]] = []
        self._buffer, self._last = b"", 0
        to_browser, self._to = _pipe()
        self._from, from_browser = _pipe()
        ends = (to_browser, from_browser)
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", "about:blank",
        ]  # fmt: skip
        with (folder / "browser.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(to_browser), str(from_browser), *command],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._log = folder / "browser.log"
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None
        try:
            pages = self.ask("Target.getTargets")["targetInfos"]
            page = next(p["targetId"] for p in pages if p["type"] == "page")
            self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def open(self, path: Path) -> None:
        """Open a file and wait until everything in it is loaded."""
        self.events.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._take(time.monotonic() + 60)

    def run(self, script: str) -> Any:
        """Return what a JavaScript expression is; what it throws fails the test."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command of the protocol and return the browser's answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        with contextlib.suppress(BrokenPipeError):  # reading says what became of it
            os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            answer = self._take(until)
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _take(self, until: float) -> dict[str, Any]:
        """Return the next message; events are kept besides."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            got = os.read(self._from, 1 << 16) if ready else b""
            if not got:
                text = self._log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the browser {'closed' if ready else 'does not answer'}; it said:\n{text}")
            self._buffer += got
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def close(self) -> None:
        os.close(self._to)  # which ends it
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._from)

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
