"""Progress of an output: told in steps that a person can see, its start and its end once each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lamina.trace.recorder import Step

OutputProgress = Callable[[str, int, int], None]
"""Takes what is being done ("exporting layers"), how much of it is done and how much there is.

Bytes or pieces. The first call of a thing has 0, and its last, which comes once, has both equal.
Called from several threads, never at once.
"""

_STEPS = 100


def progress_of(step: Step) -> OutputProgress:
    """Progress that the trace tells as that of a step: bytes, or a single piece, whose end alone
    is worth a line.
    """

    def tell(what: str, now: int, total: int) -> None:
        if total > 1 or now:
            step.progress(what, now, total, unit="bytes" if total > 1 else "", done=now == total)

    return tell


def silent(what: str, current: int, total: int) -> None:
    """Progress that nobody looks at."""


class Meter:
    """Counts one thing up to `total`. Use it in a `with` statement, which ends it in peace."""

    def __init__(self, progress: OutputProgress, what: str, total: int = 1) -> None:
        self._progress = progress
        self._what = what
        self._total = max(total, 1)
        self._done = 0
        self._next = self._total // _STEPS + 1
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        """So much more is done. Safe to call from several threads."""
        with self._lock:
            self._done += amount
            if self._next <= self._done < self._total:
                self._next = self._done + self._total // _STEPS + 1
                self._progress(self._what, self._done, self._total)

    def __enter__(self) -> Self:
        self._progress(self._what, 0, self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._progress(self._what, self._total, self._total)
