"""Files and directories that appear whole or not at all, by rename(2).

A kill at any moment leaves either nothing or the finished thing under its name. Files are written
without a name (O_TMPFILE), so that a kill leaves no litter either, where the file system can do it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO, Final

_NO_TMPFILE: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


@contextlib.contextmanager
def publishing(path: str, *, mode: int = 0o644, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which replaces `path` when the block ends without an exception.

    `durable` has it on the disk before it has its name. Raises OSError.
    """
    directory, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, f".{name[:100]}.{_unique()}")
    descriptor, named = _open(directory, temporary)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
            if not named:
                # Without a directory descriptor Python calls link(2), which follows nothing.
                source = f"/proc/self/fd/{file.fileno()}"
                os.link(source, temporary, src_dir_fd=file.fileno(), follow_symlinks=True)
                named = True
        os.rename(temporary, path)
        named = False
    finally:
        if named:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    if durable:
        _sync_directory(directory)


def publish_file(path: str, data: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Writes `data` to `path`, replacing what is there. Raises OSError."""
    with publishing(path, mode=mode, durable=durable) as file:
        file.write(data)


def publish_directory(work: str, final: str) -> bool:
    """Gives the finished directory `work` the name `final`, on the same file system.

    False where there is a `final` already, which stays as it is; `work` is then still there.
    Raises OSError.
    """
    try:
        os.rename(work, final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _open(directory: str, temporary: str) -> tuple[int, bool]:
    """A descriptor for writing, and whether it has the name `temporary` already."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), False
    except OSError as error:
        if error.errno not in _NO_TMPFILE or not os.path.isdir(directory):
            raise
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(temporary, flags, 0o600), True


def _unique() -> str:
    return f"{os.getpid()}-{threading.get_ident():x}-{time.monotonic_ns():x}"


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
