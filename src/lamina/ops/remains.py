"""What a RUN step that failed leaves behind: its output, its files, its mounts.

A step lets go of its files and locks when it ends. Where somebody wants to look at a failure, that
waits until the build has come to rest: the other steps are over, and the main thread, which alone
may use the terminal, has the error.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

import msgspec

from lamina.errors import LaminaError
from lamina.executor.spec import ContainerSpec, ExitStatus
from lamina.graph.ops import ExecOp
from lamina.layer.stack import Stack
from lamina.snapshot.snapshotter import Active

TAIL = 32 * 1024
"""Bytes of the output's end that are kept."""


class Attempt(msgspec.Struct):
    """What became of a step's process: the file that has all of its output, the end of that, and
    how it ended (None: it could not be started).
    """

    path: str = ""
    output: bytes = b""
    status: ExitStatus | None = None

    def keep(self, data: bytes) -> None:
        self.output = (self.output + data)[-TAIL:]


class Remains(msgspec.Struct, frozen=True, kw_only=True):
    """A failed step: `spec` is how it was run on `below`, and `active` is its writable tree.

    `held` lets go of everything when it is closed.
    """

    op: ExecOp
    spec: ContainerSpec
    below: Stack
    active: Active
    error: LaminaError
    held: ExitStack


class Morgue:
    """Keeps the remains of failed steps until the build is over. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._remains: list[Remains] = []

    def take(self, remains: Remains) -> None:
        with self._lock:
            self._remains.append(remains)

    def of(self, error: BaseException) -> Remains | None:
        """Those of the step that ended with `error`."""
        with self._lock:
            return next((each for each in self._remains if each.error is error), None)

    def close(self) -> None:
        """Lets go of all."""
        with self._lock:
            remains, self._remains = self._remains, []
        with ExitStack() as stack:
            for each in remains:
                stack.push(each.held)
