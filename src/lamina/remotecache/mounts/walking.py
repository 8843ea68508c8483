"""Reading a folder that others may write to: no link is followed, and what changes is not believed.

A shared cache mount is not locked: while it is read, a step of another build may put a symlink to
the host's files where a directory was. So every directory is opened below the one above it, and
every file below its directory; nothing is reached by a path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from lamina.remotecache.mounts.manifest import MAX_DEPTH, MAX_PATH

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a named pipe that took the place of a file would hang the build.
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LeaveOut = Callable[[bytes, str], None]
"""Is told of a path that is left out, and why."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """Something in a folder: its path from the top, and its name in the open `directory`."""

    path: bytes
    name: bytes
    directory: int
    status: os.stat_result

    @property
    def host(self) -> bytes:
        """A path to it while its directory is open. What stands there may be a link by now."""
        return b"/proc/self/fd/%d/%b" % (self.directory, self.name)


class Changed(Exception):
    """A file is not what it was a moment ago."""


def walk(root: str, leave_out: LeaveOut) -> Iterator[Found]:
    """Everything below `root`, directories before what is in them, in the same order every time.

    What vanishes meanwhile is as if it had never been. Raises OSError.
    """
    stack: list[tuple[int, Iterator[Found]]] = []
    try:
        _enter(stack, os.open(root, _OPEN_DIRECTORY), b"")
        while stack:
            found = next(stack[-1][1], None)
            if found is None:
                os.close(stack.pop()[0])
                continue
            is_directory = stat.S_ISDIR(found.status.st_mode)
            if len(found.path) > MAX_PATH or (is_directory and len(stack) >= MAX_DEPTH):
                leave_out(found.path, "its path is too long")
                continue
            inner = _open_directory(found, leave_out) if is_directory else None
            if is_directory and inner is None:
                continue
            yield found
            if inner is not None:
                _enter(stack, inner, found.path + b"/")
    finally:
        for descriptor, _ in stack:
            os.close(descriptor)


def _enter(stack: list[tuple[int, Iterator[Found]]], descriptor: int, prefix: bytes) -> None:
    stack.append((descriptor, iter(())))  # it is closed whatever happens
    stack[-1] = (descriptor, iter(_list(descriptor, prefix)))


def _list(descriptor: int, prefix: bytes) -> list[Found]:
    found = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found.append(Found(prefix + name, name, descriptor, status))
    return sorted(found, key=lambda each: each.name)


def _open_directory(found: Found, leave_out: LeaveOut) -> int | None:
    try:
        return os.open(found.name, _OPEN_DIRECTORY, dir_fd=found.directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        leave_out(found.path, error.strerror or "it cannot be read")
        return None


class StillFile:
    """A file that is open for reading. `check` tells whether it stayed what `found` says."""

    def __init__(self, found: Found) -> None:
        """Raises Changed for what is not that file any more, OSError where it cannot be read."""
        self._status = found.status
        try:
            self.descriptor = os.open(found.name, _OPEN_FILE, dir_fd=found.directory)
        except FileNotFoundError:
            raise Changed from None
        try:
            self.check()
        except BaseException:
            os.close(self.descriptor)
            raise

    def __enter__(self) -> StillFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def check(self) -> None:
        """Raises Changed where the file was written to, or is another one."""
        if _marks(os.fstat(self.descriptor)) != _marks(self._status):
            raise Changed

    def readinto(self, buffer: memoryview, /) -> int:
        return os.readv(self.descriptor, [buffer])

    def read_whole(self) -> bytes:
        """The content of a small file, checked. Raises Changed."""
        data = os.read(self.descriptor, self._status.st_size + 1)
        if len(data) != self._status.st_size:
            raise Changed
        self.check()
        return data


def _marks(status: os.stat_result) -> tuple[int, ...]:
    return (
        stat.S_IFMT(status.st_mode),
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def look_again(found: Found) -> Found | None:
    """What stands at the same place now; None if nothing does."""
    try:
        status = os.stat(found.name, dir_fd=found.directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Found(found.path, found.name, found.directory, status)
