"""Opening and resolving paths inside a root directory, which nothing leaves.

A path is followed as a process that is chrooted to the root would follow it: an absolute link
starts at the root, `..` at the root stays there. openat2(2) does it in one call (Linux 5.6); where
it is missing or forbidden the path is walked component by component without following anything.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from typing import Any, Final

O_DIRECTORY_PATH: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_SYS_OPENAT2: Final = 437
_RESOLVE_NO_MAGICLINKS: Final = 2
_RESOLVE_NO_SYMLINKS: Final = 4
_RESOLVE_BENEATH: Final = 8
_RESOLVE_IN_ROOT: Final = 16
_PATH_MAX: Final = 4096
_MOST_LINKS: Final = 255


def open_in_root(
    root: int, path: bytes, flags: int = os.O_RDONLY, *, mode: int = 0o644, follow: bool = True
) -> int:
    """Opens `path`, links followed inside the directory `root`, and returns a descriptor.

    `follow` false leaves the last component alone if it is a link: with O_PATH the link itself is
    opened, without it the error is ELOOP. Raises OSError.
    """
    flags |= os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    name = path.strip(b"/") or b"."
    descriptor = _openat2(root, name, flags, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    if descriptor is not None:
        return descriptor
    return _walk(root, name, flags, mode, follow=follow)


def open_beneath(root: int, path: bytes, flags: int = os.O_RDONLY, *, mode: int = 0o644) -> int:
    """Opens `path` below the directory `root`; a link or a `..` on the way is an error.

    Raises OSError: ELOOP for a link, EXDEV for what would leave the root.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if path.startswith(b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    name = path.rstrip(b"/") or b"."
    how = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS
    descriptor = _openat2(root, name, flags, mode, how)
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


def _openat2(root: int, path: bytes, flags: int, mode: int, resolve: int) -> int | None:
    """None where the kernel (or a seccomp filter) does not let us."""
    if len(path) >= _PATH_MAX:
        return None
    # The kernel refuses a mode where nothing can be created.
    creates = flags & (os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY))
    how = (ctypes.c_uint64 * 3)(flags, mode if creates else 0, resolve)
    while True:
        descriptor: int = _syscall()(
            ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root), path, how, ctypes.c_size_t(24)
        )
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            return None
        # EAGAIN: something was renamed on the way, and the kernel cannot tell whether it matters.
        if code not in (errno.EINTR, errno.EAGAIN):
            raise OSError(code, os.strerror(code), path)


def _walk(root: int, path: bytes, flags: int, mode: int, *, follow: bool) -> int:
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    stack = [os.dup(root)]
    links = 0
    try:
        while todo:
            part = todo.pop()
            if part == b"..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            target = None if not todo and not follow else _link(stack[-1], part)
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith(b"/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                todo += [p for p in reversed(target.split(b"/")) if p not in (b"", b".")]
                continue
            if not todo:
                return os.open(part, flags | os.O_NOFOLLOW, mode, dir_fd=stack[-1])
            stack.append(_directory(stack[-1], part, path))
        return os.open(b".", flags, mode, dir_fd=stack[-1])
    finally:
        for descriptor in stack:
            os.close(descriptor)


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


@functools.cache
def _syscall() -> Any:  # noqa: ANN401 - a C function has no type
    return ctypes.CDLL(None, use_errno=True).syscall
