"""Locks between processes, by flock(2) on a file.

The kernel frees a lock when the process dies, however it dies. A child that was forked while the
lock was held shares it: it ends when the last of them has closed the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1

Waiting = Callable[[float], bool]
"""Asked again and again while a lock is taken: the seconds waited so far; false gives up."""


class FileLock:
    """A lock that is held. It ends with `release`, or with the `with` block."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        """Deletes the lock's file and lets go. Whoever waits for it makes a new one."""
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: str, *, shared: bool = False) -> FileLock | None:
    """The lock, or None if another has it. The file is created where it is missing."""
    return _lock(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def lock(path: str, *, shared: bool = False, waiting: Waiting | None = None) -> FileLock | None:
    """Waits for the lock. None only where `waiting` gave up."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if waiting is None:
        return _lock(path, kind)
    started, pause = time.monotonic(), _FIRST_PAUSE
    while (taken := _lock(path, kind | fcntl.LOCK_NB)) is None:
        if not waiting(time.monotonic() - started):
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return taken


@contextlib.contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock for the time of a block."""
    taken = _lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        if taken is not None:
            taken.release()


def _lock(path: str, operation: int) -> FileLock | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            if _is_still(descriptor, path):
                return FileLock(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # Its holder deleted the file while we waited: that lock is worth nothing any more.
        os.close(descriptor)


def _is_still(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
