"""How many blobs move at once, and that none moves twice at once."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

TRANSFERS = 8
"""Blobs that move at once, of one client, in both directions together."""


class Transfers:
    """A bound for all threads together. Whoever wants what another is moving waits for that one,
    and should look afterwards whether there is still something to do."""

    def __init__(self, limit: int = TRANSFERS) -> None:
        self._slots = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}

    @contextmanager
    def moving(self, key: Hashable) -> Iterator[None]:
        """Within, no other thread has this key, and not more than the limit have any. Not to be
        nested."""
        with self.turn(key), self._slots:
            yield

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[None]:
        """Within, no other thread has this key."""
        with self._lock:
            flight = self._flights.setdefault(key, _Flight())
            flight.threads += 1
        try:
            with flight.lock:
                yield
        finally:
            with self._lock:
                flight.threads -= 1
                if not flight.threads:
                    del self._flights[key]


class _Flight:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
