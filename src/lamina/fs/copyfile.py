"""Copying what is in a file, the cheapest way the two file systems allow.

A shared extent where they can (FICLONE), else a copy within the kernel, else by hand. Holes stay
holes. With a hash the bytes have to come by anyway, so they are written in the same pass.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from typing import Any, Final, Protocol

_FICLONE: Final = 0x40049409
_PIECE: Final = 1 << 20
_IN_KERNEL: Final = 1 << 30
_CANNOT: Final = (
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.ETXTBSY,
    errno.EBADF,
)


class Hash(Protocol):
    """What hashlib makes."""

    def update(self, data: Any, /) -> None: ...  # noqa: ANN401 - any buffer


def copy_content(source: int, target: int, *, hasher: Hash | None = None) -> int:
    """Copies all of `source` into the empty file `target`; returns its size in bytes.

    Both are descriptors. The offset of neither matters. Raises OSError.
    """
    status = os.fstat(source)
    size = status.st_size
    if size == 0 and hasher is None:
        return _copy_endless(source, target)
    cloned = _clone(source, target) if size else False
    if cloned and hasher is None:
        return size
    if not cloned:
        os.ftruncate(target, size)
    end = 0
    for start, stop in data_ranges(source, status):
        if hasher is not None:
            hash_zeros(hasher, start - end)
            _copy_by_hand(source, None if cloned else target, start, stop, hasher)
        else:
            _copy_range(source, target, start, stop)
        end = stop
    if hasher is not None:
        hash_zeros(hasher, size - end)
    return size


def hash_content(source: int, size: int, hasher: Hash) -> int:
    """Hashes a file from its start; returns how many bytes there were, which may not be `size`."""
    view = memoryview(bytearray(min(_PIECE, size + 1)))
    done = 0
    for start, stop in data_ranges(source, os.fstat(source)):
        hash_zeros(hasher, start - done)
        done = start
        while done < stop and (got := os.preadv(source, [view[: stop - done]], done)):
            hasher.update(view[:got])
            done += got
    while got := os.preadv(source, [view], done):  # a hole at the end, or what was added meanwhile
        hasher.update(view[:got])
        done += got
    return done


def hash_zeros(hasher: Hash, count: int) -> None:
    """Hashes `count` zero bytes: a hole."""
    if count <= 0:
        return
    zeros = bytes(min(count, _PIECE))
    for _ in range(count // len(zeros)):
        hasher.update(zeros)
    hasher.update(zeros[: count % len(zeros)])


def _clone(source: int, target: int) -> bool:
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


def _copy_range(source: int, target: int, start: int, stop: int) -> None:
    while start < stop:
        try:
            done = os.copy_file_range(source, target, min(stop - start, _IN_KERNEL), start, start)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            done = 0
        if done == 0:  # some file systems say so instead of refusing
            _send(source, target, start, stop)
            return
        start += done


def _send(source: int, target: int, start: int, stop: int) -> None:
    os.lseek(target, start, os.SEEK_SET)
    while start < stop:
        try:
            done = os.sendfile(target, source, start, min(stop - start, _IN_KERNEL))
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            _copy_by_hand(source, target, start, stop, None)
            return
        if done == 0:
            return
        start += done


def _copy_by_hand(
    source: int, target: int | None, start: int, stop: int, hasher: Hash | None
) -> None:
    if start >= stop:
        return
    view = memoryview(bytearray(min(_PIECE, stop - start)))
    while start < stop:
        got = os.preadv(source, [view[: min(len(view), stop - start)]], start)
        if got == 0:
            return
        if hasher is not None:
            hasher.update(view[:got])
        if target is not None:
            _write(target, view[:got], start)
        start += got


def _write(target: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(target, data, offset)
        data, offset = data[done:], offset + done


def data_ranges(source: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """The pieces (start, stop) of an open file that are not holes, in order."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        yield 0, size
        return
    offset = 0
    while offset < size:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            yield offset, size
            return
        offset = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, offset


def _copy_endless(source: int, target: int) -> int:
    """Files of /proc and /sys say that they are empty, and are not."""
    done = 0
    while piece := os.pread(source, _PIECE, done):
        _write(target, memoryview(piece), done)
        done += len(piece)
    return done
