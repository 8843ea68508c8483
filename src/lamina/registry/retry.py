"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Callable

from lamina.errors import RemoteError
from lamina.registry.errors import ServerFailed, TooManyRequests

LONGEST_WAIT = 60.0
"""Seconds. A registry that wants us to wait longer gets no second request."""

_FIRST_PAUSE = 0.25
_SLICE = 0.5
_SPREAD = 0.25


class Backoff:
    """Counts the failures in a row of one piece of work.

    Waits 0.25 s, then twice as long each time, or as long as the registry says; and by chance up to
    as long again, or a quarter of what the registry says, so that many do not come back at once.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], None],
        random: Callable[[], float] = random.random,
        limit: int = 5,
    ) -> None:
        """`random` gives numbers from 0 to 1. `limit` is the number of failures that ends it."""
        self._sleep = sleep
        self._random = random
        self._limit = limit
        self._failures = 0

    def progressed(self) -> None:
        """Some of the work got done since the last failure."""
        self._failures = 0

    def wait(self, error: RemoteError, *, alive: Callable[[], None] | None = None) -> None:
        """Waits after a failure, or raises `error` again if it is of no use to go on.

        `alive` is called about twice a second and may raise to end the wait.
        """
        self._failures += 1
        if not error.retryable or self._failures >= self._limit:
            raise error
        left, spread = _FIRST_PAUSE * 2 ** (self._failures - 1), 1.0
        if isinstance(error, TooManyRequests | ServerFailed) and error.retry_after is not None:
            left, spread = error.retry_after, _SPREAD
        if left > LONGEST_WAIT:
            raise error
        left *= 1 + spread * self._random()
        while left > 0:
            if alive is not None:
                alive()
            self._sleep(min(left, _SLICE))
            left -= _SLICE
