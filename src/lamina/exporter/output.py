"""Where one stream of bytes goes: a file that appears complete or not at all, a device, standard
output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from lamina.content.store import host_errors
from lamina.errors import HostError, InternalError, UsageError
from lamina.exporter.transfer import copy_bytes
from lamina.fs.publish import publishing


class Output(Protocol):
    """Takes bytes, and open files, whose bytes do not pass through this process if possible."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...
    def copy(self, source: int, size: int) -> None:
        """The next `size` bytes of the open file `source`."""
        ...


def check_file_dest(dest: str | None, *, output: str) -> str:
    """The destination of an output that is one file; without one it is standard output.

    Raises UsageError.
    """
    if dest and dest != "-" and os.path.isdir(dest):
        raise UsageError(
            f"destination file {dest} is a directory", hint=f"write type={output},dest=FILE"
        )
    return dest or "-"


@contextlib.contextmanager
def open_output(dest: str, stdout: BinaryIO | None) -> Iterator[Output]:
    """The output for `dest`; "-" is `stdout`.

    A regular file is written beside its place and renamed when the `with` statement is left in
    peace; a device, a FIFO and everything in /dev is written as it stands. Raises HostError.
    """
    if dest == "-":
        if stdout is None:
            raise InternalError("this output was given no standard output")
        if stdout.isatty():
            raise UsageError(
                "refusing to write an archive to the terminal",
                hint="write dest=FILE, or use a pipe",
            )
        with host_errors("standard output"):
            yield _stream_output(stdout)
            stdout.flush()
        return
    target = os.path.realpath(dest)
    with host_errors(dest):
        if dest.startswith("/dev/") or _is_special(target):
            fd = os.open(dest, os.O_WRONLY | os.O_CLOEXEC)
            try:
                yield _FileOutput(fd)
            finally:
                os.close(fd)
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with publishing(target, mode=0o666 & ~_umask()) as file:
            yield _FileOutput(file.fileno())


def _umask() -> int:
    """The process's umask; setting it to read it would disturb other threads."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def _is_special(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _stream_output(stream: BinaryIO) -> Output:
    try:
        fd = stream.fileno()
    except (OSError, AttributeError):
        return _StreamOutput(stream)
    stream.flush()
    return _FileOutput(fd)


@contextlib.contextmanager
def _reader() -> Iterator[None]:
    """Says of a pipe nobody reads what it is, before it is taken for a fault of another file."""
    try:
        yield
    except BrokenPipeError:
        raise HostError("nobody reads the output any more: the pipe was closed") from None


class _FileOutput:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        view = memoryview(data)
        with _reader():
            while view:
                view = view[os.write(self._fd, view) :]
        return len(data)

    def copy(self, source: int, size: int) -> None:
        with _reader():
            copy_bytes(source, self._fd, size)


class _StreamOutput:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        self._stream.write(data)
        return len(data)

    def copy(self, source: int, size: int) -> None:
        while size:
            data = os.read(source, min(size, 1 << 20))
            if not data:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            self._stream.write(data)
            size -= len(data)
