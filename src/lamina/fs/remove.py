"""Removing trees that were made by others: any mode, any name, any depth."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

from lamina.errors import HostError

_DEEPEST: Final = 64
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str | bytes) -> None:
    """Removes `path` and everything in it; it is no error if it is not there.

    Needs descriptors for 64 levels, whatever the depth. Raises HostError where something cannot be
    removed, and before it crosses into another file system.
    """
    name = os.fsencode(path).rstrip(b"/")
    try:
        status = os.lstat(name)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name)
            return
        top = _open(name, None)
        try:
            _Removal(top, status.st_dev).run()
        finally:
            os.close(top)
        os.rmdir(name)
    except OSError as error:
        raise HostError(f"{os.fsdecode(name)} cannot be removed: {error.strerror}") from error


class _Removal:
    """Empties one directory. What lies too deep is moved up to the top, and removed from there."""

    def __init__(self, top: int, device: int) -> None:
        self.top = top
        self.device = device
        self.moved = 0

    def run(self) -> None:
        before = -1
        while self.moved != before:
            before = self.moved
            self.empty(self.top, 0)

    def empty(self, directory: int, depth: int) -> None:
        if os.fstat(directory).st_dev != self.device:
            raise OSError(errno.EXDEV, "something is mounted in it")
        with os.scandir(directory) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for text, is_directory in names:
            name = os.fsencode(text)
            if is_directory:
                self.remove_directory(name, directory, depth)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)

    def remove_directory(self, name: bytes, parent: int, depth: int) -> None:
        try:
            os.rmdir(name, dir_fd=parent)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EBUSY):
                raise
        if depth >= _DEEPEST:
            self.moved += 1
            os.rename(name, b".removing-%d" % self.moved, src_dir_fd=parent, dst_dir_fd=self.top)
            return
        descriptor = _open(name, parent)
        try:
            self.empty(descriptor, depth + 1)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=parent)


def _open(name: bytes, parent: int | None) -> int:
    """Opens a directory that is about to be emptied, whatever its mode says."""
    try:
        descriptor = os.open(name, _OPEN, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, _OPEN, dir_fd=parent)
    if os.geteuid() != 0 and os.fstat(descriptor).st_mode & 0o300 != 0o300:
        os.fchmod(descriptor, 0o700)
    return descriptor
