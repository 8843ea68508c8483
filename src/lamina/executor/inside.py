"""Paths inside a root file system that nobody vouches for.

A hostile image may hold any symlink, and a cache mount may change under our hands: paths are
resolved by the kernel as if the container's root were the root directory (openat2(2)), and what is
made is made relative to a directory that is already open. `fs.paths` is for trees of our own.
"""

from __future__ import annotations

import errno
import os
import stat

from lamina.fs import syscalls

_MAX_LINKS = 40


def resolve(root: int, path: bytes) -> bytes:
    """`path` below the directory `root` without symlinks, `.` or `..`; its end need not exist.

    OSError (ELOOP) for a circle of symlinks.
    """
    pending = path.split(b"/")[::-1]
    done: list[bytes] = []
    links = 0
    while pending:
        name = pending.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            del done[-1:]
            continue
        link = _link(root, b"/".join((*done, name)))
        if link is None:
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith(b"/"):
            done = []
        pending += link.split(b"/")[::-1]
    return b"/".join(done)


def _link(root: int, path: bytes) -> bytes | None:
    """Where the symlink `path` leads; None where there is no symlink."""
    try:
        descriptor = syscalls.open_in(root, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            return None
        return os.readlink(b"", dir_fd=descriptor)
    finally:
        os.close(descriptor)


def missing(root: int, path: bytes) -> list[bytes]:
    """The prefixes of the resolved `path` that do not exist, shortest first."""
    names = path.split(b"/") if path else []
    absent: list[bytes] = []
    for count in range(len(names), 0, -1):
        prefix = b"/".join(names[:count])
        try:
            os.close(syscalls.open_in(root, prefix, os.O_PATH | os.O_NOFOLLOW))
            break
        except (FileNotFoundError, NotADirectoryError):
            absent.append(prefix)
    return absent[::-1]


def create(root: int, path: bytes, *, directory: bool) -> None:
    """Makes the last component of the resolved `path`."""
    parent, _, name = path.rpartition(b"/")
    descriptor = syscalls.open_in(root, parent, os.O_PATH | os.O_DIRECTORY)
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=descriptor)
            return
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=descriptor))
    finally:
        os.close(descriptor)


def mount_point(root: int, path: bytes, *, directory: bool) -> int:
    """A descriptor (O_PATH) of `path`, made with its parents where it is missing."""
    path = resolve(root, path)
    absent = missing(root, path)
    for prefix in absent:
        create(root, prefix, directory=directory or prefix != path)
    return syscalls.open_in(root, path)


def read_file(root: int, path: bytes, limit: int) -> bytes:
    """The start of a regular file inside `root`; b"" where there is none."""
    try:
        descriptor = syscalls.open_in(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with open(descriptor, "rb") as file:
        return file.read(limit)
