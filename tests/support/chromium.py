"""Debian's Chromium, headless: opens a page and tells what a user would see and hear of it.

It speaks the DevTools protocol over a pipe (`--remote-debugging-pipe`: JSON messages that end in a
NUL byte), so it needs no library and listens nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.commands import program

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0
Json = dict[str, Any]


@dataclass(slots=True)
class Browser:
    """A running Chromium with one page. `events` are what it told by itself, oldest first."""

    to: int
    answers: int
    session: str = ""
    events: list[Json] = field(default_factory=list)
    _number: int = 0
    _rest: bytes = b""

    def call(self, method: str, **parameters: object) -> Json:
        """One command of the protocol, and what it answers. Raises AssertionError."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._read(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: Json = answer["result"]
                return result
            self.events.append(answer)

    def _read(self, until: float) -> Json:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.answers], [], [], max(until - time.monotonic(), 0))
            assert ready, "Chromium did not answer in time"
            data = os.read(self.answers, 1 << 20)
            assert data, "Chromium ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found: Json = json.loads(message)
        return found

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of this size, by the colours that the user prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + PATIENCE
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read(until))

    def value(self, expression: str) -> object:
        """What a JavaScript expression gives in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def requests(self) -> list[str]:
        """The addresses of everything that the page has asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and violations of the page's policy."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] != "verbose":
                found.append(parameters["entry"]["text"])
            elif method == "Runtime.consoleAPICalled":
                found.append(json.dumps(parameters["args"]))
        return found

    def accessible(self) -> list[tuple[str, str]]:
        """(role, name) of all that a screen reader is told of, in its order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]

    def screenshot(self, to: Path, *, whole: bool = False, height: int | None = None) -> None:
        """A PNG of what is seen, or of the whole page, or of so many pixels from its top."""
        options: Json = {}
        if whole or height:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip: Json = {"x": 0, "y": 0, "width": size["width"], "scale": 1}
            clip["height"] = height or size["height"]
            options = {"clip": clip, "captureBeyondViewport": True}
        shot = self.call("Page.captureScreenshot", **options)
        to.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def running_chromium(profile: Path) -> Iterator[Browser]:
    """A Chromium with a new profile in the folder `profile`."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    words = [program("chromium"), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    # The protocol is spoken over the descriptors 3 (commands) and 4 (answers).
    script = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", *words],
        pass_fds=(to_read, from_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    os.close(to_read)
    os.close(from_write)
    try:
        browser = Browser(to_write, from_read)
        pages = browser.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        browser.session = session["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            browser.call(f"{domain}.enable")
        yield browser
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)
        os.close(to_write)
        os.close(from_read)
