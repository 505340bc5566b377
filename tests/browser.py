"""A headless Chromium, driven over a pipe by the DevTools protocol: nothing beyond the standard library."""

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SECONDS = 30.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """One browser with one page; use it as a context manager.

    `events` are what the page told since it was opened: requests, console messages, exceptions, log entries.
    """

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        commands, self._send = os.pipe()
        self._receive, answers = os.pipe()
        # The browser reads its commands from descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{commands} 4>&{answers}'
        words = ["bash", "-c", script, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with (profile.with_name("chromium.log")).open("w") as log:
            self._process = subprocess.Popen(words, pass_fds=(commands, answers), stdout=log, stderr=log)
        os.close(commands)
        os.close(answers)
        self._number, self._buffer, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> "Browser":
        """Open a page that reports what happens in it."""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility", "DOM"):
            self(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        """End the browser, and wait until it is gone."""
        os.close(self._send)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._receive)

    def __call__(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._send, json.dumps(message).encode() + b"\0")
        return self._until(lambda found: found.get("id") == self._number)["result"]

    def open(self, page: Path, width: int, dark: bool = False, media: str = "screen") -> None:
        """Open a page in a window of some width, and wait until it has been loaded."""
        mobile = width < 600
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self("Page.navigate", url=page.resolve().as_uri())
        self._until(lambda found: found.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _until(self, wanted: Any) -> dict[str, Any]:
        """Return the first message that is wanted; keep the events before it."""
        end = time.monotonic() + SECONDS
        while True:
            while b"\0" not in self._buffer:
                ready, _, _ = select.select([self._receive], [], [], max(0.0, end - time.monotonic()))
                data = os.read(self._receive, 1 << 20) if ready else b""
                if not data:
                    raise TimeoutError("the browser does not answer")
                self._buffer += data
            line, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(line)
            if "method" in message:
                self.events.append(message)
            if "error" in message:
                raise RuntimeError(message["error"])
            if wanted(message):
                return message
