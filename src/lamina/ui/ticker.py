"""Calls something again and again, for views that change while nothing happens."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ticker:
    """Calls `action` every `interval` seconds in a thread of its own, from `start` until `stop`.

    No thread is there before `start`: a process may have to enter a user namespace first.
    """

    def __init__(self, interval: float, action: Callable[[], None]) -> None:
        self._interval = interval
        self._action = action
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self._action()
