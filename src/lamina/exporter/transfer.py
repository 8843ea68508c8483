"""Appending a part of one open file to another, or to a pipe, inside the kernel where it can.

copy_file_range(2), else sendfile(2), else by hand. For whole files see `lamina.fs.copyfile`.
"""

from __future__ import annotations

import errno
import os

_CHUNK = 1 << 20
_MOST = 1 << 30  # the kernel copies at most 2 GiB at once
_NOT_HERE = frozenset(
    (
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EBADF,
        errno.EPERM,
        errno.ETXTBSY,
    )
)


def copy_bytes(source: int, target: int, size: int) -> None:
    """Copies the next `size` bytes of one open file to another. May raise OSError."""
    ways = [_by_range, _by_sendfile, _by_reading]
    while size:
        try:
            copied = ways[0](source, target, min(size, _MOST))
        except OSError as error:
            if error.errno not in _NOT_HERE or len(ways) == 1:
                raise
            del ways[0]
            continue
        if copied == 0 and len(ways) == 1:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        if copied == 0:  # some file systems say so instead of refusing
            del ways[0]
        size -= copied


def _by_range(source: int, target: int, size: int) -> int:
    return os.copy_file_range(source, target, size)


def _by_sendfile(source: int, target: int, size: int) -> int:
    return os.sendfile(target, source, None, size)


def _by_reading(source: int, target: int, size: int) -> int:
    data = os.read(source, min(size, _CHUNK))
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return len(data)
