"""Opening and resolving paths inside a root directory, which nothing leaves.

openat2(2) opens in one call (Linux 5.6); where it is missing or forbidden the path is walked
component by component. A sandbox, which cannot do without openat2(2), has `syscalls.open_in`.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from lamina.fs import syscalls

O_DIRECTORY_PATH: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_UNAVAILABLE: Final = (
    *(errno.ENOSYS, errno.EPERM, errno.EINVAL),  # an old kernel, or a filter
    errno.ENAMETOOLONG,  # the components alone may be short enough
    errno.EAGAIN,  # after many attempts
)
_MOST_LINKS: Final = 255


def open_beneath(root: int, path: bytes, flags: int = os.O_RDONLY, *, mode: int = 0o644) -> int:
    """Opens `path` below the directory `root`; a link or a `..` on the way is an error.

    Raises OSError: ELOOP for a link, EXDEV for what would leave the root.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if path.startswith(b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    name = path.rstrip(b"/") or b"."
    descriptor = _openat2(root, name, flags, mode)
    if descriptor is not None:
        return descriptor
    *parents, last = name.split(b"/")
    if b".." in (*parents, last):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    current = os.dup(root)
    try:
        for part in parents:
            current = _replace(current, _directory(current, part, path))
        return os.open(last or b".", flags, mode, dir_fd=current)
    finally:
        os.close(current)


def resolve_in_root(root: str | bytes, path: bytes) -> bytes:
    """Where `path` really leads inside `root`, links followed; relative to the root.

    They are followed as a process that is chrooted to the root would follow them: an absolute link
    starts at the root, `..` at the root stays there. For a tree that nobody exchanges meanwhile.
    Components that do not exist are kept as they are. Raises OSError (ELOOP) for a circle.
    """
    base = os.fsencode(root).rstrip(b"/")
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    done: list[bytes] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            del done[-1:]
            continue
        try:
            target = os.readlink(b"/".join((base, *done, part)))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                raise
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith(b"/"):
            done.clear()
        todo.extend(part for part in reversed(target.split(b"/")) if part not in (b"", b"."))
    return b"/".join(done)


def _openat2(root: int, path: bytes, flags: int, mode: int) -> int | None:
    """None where the kernel (or a seccomp filter) does not let us."""
    # The kernel refuses a mode where nothing can be created.
    creates = flags & (os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY))
    how = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
    try:
        return syscalls.openat2(root, path, flags, mode=mode if creates else 0, resolve=how)
    except OSError as error:
        if error.errno in _UNAVAILABLE:
            return None
        raise


def _link(directory: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _directory(parent: int, name: bytes, path: bytes) -> int:
    try:
        return os.open(name, O_DIRECTORY_PATH, dir_fd=parent)
    except NotADirectoryError as error:
        if _link(parent, name) is not None:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from error
        raise


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new
